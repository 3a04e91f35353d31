"""What comes in from outside, checked: every fault of a body in one answer, each by its field."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote

from chalicelib.commands.admit import AdmitCustomer
from chalicelib.commands.grab import GrabCoupon
from chalicelib.commands.offer import Offer
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon
from chalicelib.commands.write_item import WriteItem
from chalicelib.door import models
from chalicelib.door.checks import DIGITS, ID
from chalicelib.door.models import Field, Model

MAX_BODY_BYTES = 16 * 1024
_IS_TWICE = "is there twice"


class InvalidInput(Exception):
    """The request can't be understood; `faults` maps a field (or "body") to what is wrong."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        """Name each bad field."""
        super().__init__(", ".join(faults))
        self.faults = dict(faults)


def parse_body(raw: bytes | str | None) -> dict[str, Any]:
    """The JSON object in a request's body; numbers with a point become decimals.

    Raises:
        InvalidInput: no object, not JSON, not UTF-8, or over 16 KiB; or names what is there twice.
    """
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw or b""
    if len(data) > MAX_BODY_BYTES:
        raise InvalidInput({"body": f"must have at most {MAX_BODY_BYTES} bytes"})
    try:
        body = _json.decode(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        raise InvalidInput({"body": "must be a JSON object"}) from None
    if not isinstance(body, dict):
        raise InvalidInput({"body": "must be a JSON object"})
    return body


def together(*parts: Callable[[], Any]) -> list[Any]:
    """What each part of a request says, in this order: path, headers, body.

    Raises:
        InvalidInput: with the faults of all parts.
    """
    faults: dict[str, str] = {}
    values = []
    for part in parts:
        try:
            values.append(part())
        except InvalidInput as error:
            faults |= error.faults
    _refuse(faults)
    return values


def offer_from(body: Mapping[str, Any], now_ms: int) -> Offer:
    """The offer in an admin's body; a promotion must not be over already at `now_ms`.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    values = models.OFFER.read(body, faults)
    if "publishTime" not in faults and "finishTime" not in faults:
        if values["finishTime"] <= values["publishTime"]:
            faults["finishTime"] = "must be after publishTime"
        elif values["finishTime"] <= now_ms:
            faults["finishTime"] = "must be in the future"
    _refuse(faults)
    return Offer(
        number_of_coupons=values["numberOfCoupons"],
        discount=values["discount"],
        publish_time=values["publishTime"],
        finish_time=values["finishTime"],
        coupons_per_customer=values["couponsPerCustomer"],
        hold_seconds=values["holdSeconds"],
        item_id=values["itemId"],
        admission=values["admission"],
    )


def item_from(body: Mapping[str, Any]) -> WriteItem:
    """The item in an admin's body.

    Raises:
        InvalidInput: names each bad field.
    """
    values = _read(models.ITEM, body)
    return WriteItem(values["name"], values["listPrice"], values["picture"])


def restock_from(body: Mapping[str, Any]) -> int:
    """How many units to add.

    Raises:
        InvalidInput: names each bad field.
    """
    return int(_read(models.RESTOCK, body)["add"])


def grab_from(body: Mapping[str, Any], headers: Mapping[str, str]) -> GrabCoupon:
    """The command in a customer's body, with its token if it has one; the key is in a header.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    values = models.GRAB.read(body, faults)
    key = models.IDEMPOTENCY_KEY.read(headers, faults)["idempotency-key"]
    _refuse(faults)
    return GrabCoupon(values["promotionId"], values["customerId"], key, values["token"])


def admit_from(body: Mapping[str, Any]) -> AdmitCustomer:
    """Who asks for a token, and for which promotion.

    Raises:
        InvalidInput: names each bad field.
    """
    values = _read(models.ADMIT, body)
    return AdmitCustomer(values["promotionId"], values["customerId"])


def payment_from(coupon_id: str, body: Mapping[str, Any]) -> PayCoupon:
    """The payment of a coupon. No amount is read.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    promotion_id, number = _coupon_parts(coupon_id, faults)
    values = models.PAYMENT.read(body, faults)
    _refuse(faults)
    return PayCoupon(promotion_id, number, values["customerId"], values["paymentReference"])


def give_back_from(coupon_id: str, source: Mapping[str, Any]) -> GiveBackCoupon:
    """A coupon to give back; the customerId comes in the body or in the query string.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    promotion_id, number = _coupon_parts(coupon_id, faults)
    values = models.GIVE_BACK.read(source, faults)
    _refuse(faults)
    return GiveBackCoupon(promotion_id, number, values["customerId"])


def key_from(headers: Mapping[str, str]) -> str | None:
    """The request's Idempotency-Key, if it has one.

    Raises:
        InvalidInput: it is not an identifier.
    """
    key: str | None = _read(models.IDEMPOTENCY_KEY, headers)["idempotency-key"]
    return key


def path_id(field: Field, value: str) -> str:
    """An id from the path, decoded.

    Raises:
        InvalidInput: names the parameter.
    """
    return str(_read(Model("Path", "a path", (field,)), {field.name: unquote(value)})[field.name])


def query_from(model: Model, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The parameters of a query string, from all values of each.

    Raises:
        InvalidInput: names each bad parameter, also one of the model that is there twice.
    """
    faults: dict[str, str] = {}
    values = model.read(_last_values(query), faults)
    _refuse(faults | _twice(model, query))
    return values


def once_each(model: Model, query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The parameters of a query string as they are; none of `model` may be there twice.

    Raises:
        InvalidInput: names what is there twice.
    """
    _refuse(_twice(model, query))
    return _last_values(query)


def _last_values(query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {name: values[-1] for name, values in query.items() if values}


def _twice(model: Model, query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Faults of what is there twice: of two, nobody could say which is meant."""
    names = (field.name for field in model.fields)
    return {name: _IS_TWICE for name in names if len(query.get(name, ())) > 1}


def _read(model: Model, source: Mapping[str, Any]) -> dict[str, Any]:
    faults: dict[str, str] = {}
    values = model.read(source, faults)
    _refuse(faults)
    return values


def _refuse(faults: dict[str, str]) -> None:
    if faults:
        raise InvalidInput(faults)


def _coupon_parts(coupon_id: str, faults: dict[str, str]) -> tuple[str, int]:
    promotion_id, _, number = unquote(coupon_id).rpartition("-")
    if not ID.fullmatch(promotion_id) or not DIGITS.fullmatch(number):
        faults["couponId"] = "must be a promotion's id, a dash and a number"
        return "", 0
    return promotion_id, int(number)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which each name is once: of two, nobody could say which is meant."""
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = sorted(name for name, count in counts.items() if count > 1)
        raise InvalidInput({models.shortened(name): _IS_TWICE for name in twice})
    return values


def _parse_int(text: str) -> int | Decimal:
    return int(text) if len(text) <= len(str(2**63)) else Decimal("NaN")


def _parse_float(text: str) -> Decimal:
    """Numbers beyond any range, NaN and Infinity become NaN: their field is refused by its name."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")


# Made once: with hooks, json.loads would make one for each call.
_json = json.JSONDecoder(
    parse_int=_parse_int,
    parse_float=_parse_float,
    parse_constant=_parse_float,
    object_pairs_hook=_once_each,
)
