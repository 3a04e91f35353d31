"""What comes in from outside, checked: every fault of a body in one answer, each by its field."""

import json
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from urllib.parse import unquote

from chalicelib.checks import (
    DIGITS,
    ID,
    Fault,
    admission,
    discount,
    identifier,
    line,
    price,
    time_ms,
    web_address,
    whole,
)
from chalicelib.commands.admit import AdmitCustomer
from chalicelib.commands.edit_promotion import MAX_COUPONS
from chalicelib.commands.grab import GrabCoupon
from chalicelib.commands.offer import Offer
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon
from chalicelib.commands.write_item import WriteItem

MAX_BODY_BYTES = 16 * 1024
PAGE_LIMIT = 100
MAX_COUPONS_PER_CUSTOMER = 100
MAX_HOLD_S = 86_400
COUPON_STATES = ("GRABBED", "PAID", "RELEASED", "REFUND_DUE", "REVOKED")


class InvalidInput(Exception):
    """The request can't be understood; `faults` maps a field (or "body") to what is wrong."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        """Name each bad field."""
        super().__init__(", ".join(faults))
        self.faults = dict(faults)


def parse_body(raw: bytes | str | None) -> dict[str, Any]:
    """The JSON object in a request's body; numbers with a point become decimals.

    Raises:
        InvalidInput: no object, not JSON, not UTF-8, or over 16 KiB.
    """
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw or b""
    if len(data) > MAX_BODY_BYTES:
        raise InvalidInput({"body": f"must have at most {MAX_BODY_BYTES} bytes"})
    try:
        body = json.loads(
            data, parse_int=_parse_int, parse_float=_parse_float, parse_constant=_parse_float
        )
    except (ValueError, RecursionError):
        raise InvalidInput({"body": "must be a JSON object"}) from None
    if not isinstance(body, dict):
        raise InvalidInput({"body": "must be a JSON object"})
    return body


def offer_from(body: Mapping[str, Any], now_ms: int) -> Offer:
    """The offer in an admin's body; unknown fields are refused.

    Args:
        body: numberOfCoupons, discount, publishTime, finishTime; optional itemId,
            couponsPerCustomer (1 to 100, default 1), holdSeconds (0 to 86,400, default 0),
            admission ("open" or "token", default "open").
        now_ms: the store's clock; a promotion must not be over already.

    Raises:
        InvalidInput: names each bad field.
    """
    faults = _unknown_fields(body, _OFFER, "a promotion")
    values = {
        name: _take(body, name, check, faults) if name in body or needed else default
        for name, (check, needed, default) in _OFFER.items()
    }
    if "publishTime" not in faults and "finishTime" not in faults:
        if values["finishTime"] <= values["publishTime"]:
            faults["finishTime"] = "must be after publishTime"
        elif values["finishTime"] <= now_ms:
            faults["finishTime"] = "must be in the future"
    if faults:
        raise InvalidInput(faults)
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
    """The item in an admin's body: name, listPrice, optional picture; no other fields.

    Raises:
        InvalidInput: names each bad field.
    """
    faults = _unknown_fields(body, ("name", "listPrice", "picture"), "an item")
    name = _take(body, "name", line, faults)
    list_price = _take(body, "listPrice", price, faults)
    picture = _take(body, "picture", web_address, faults) if "picture" in body else None
    if faults:
        raise InvalidInput(faults)
    return WriteItem(name=name, list_price=list_price, picture=picture)


def restock_from(body: Mapping[str, Any]) -> int:
    """How many units to add: {"add": n}.

    Raises:
        InvalidInput: names each bad field.
    """
    faults = _unknown_fields(body, ("add",), "a restock")
    add = _take(body, "add", lambda value: whole(value, 1, MAX_COUPONS), faults)
    if faults:
        raise InvalidInput(faults)
    return int(add)


def grab_from(body: Mapping[str, Any], headers: Mapping[str, str]) -> GrabCoupon:
    """The command in a customer's body, with its token if it has one; the key is in a header.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    promotion_id = _take(body, "promotionId", identifier, faults)
    customer_id = _take(body, "customerId", identifier, faults)
    key = _key_from(headers, faults)
    token = _take(body, "token", identifier, faults) if "token" in body else None
    if faults:
        raise InvalidInput(faults)
    return GrabCoupon(promotion_id=promotion_id, customer_id=customer_id, key=key, token=token)


def admit_from(body: Mapping[str, Any]) -> AdmitCustomer:
    """Who asks for a token, and for which promotion.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    promotion_id = _take(body, "promotionId", identifier, faults)
    customer_id = _take(body, "customerId", identifier, faults)
    if faults:
        raise InvalidInput(faults)
    return AdmitCustomer(promotion_id, customer_id)


def payment_from(coupon_id: str, body: Mapping[str, Any]) -> PayCoupon:
    """The payment of a coupon: customerId, optional paymentReference. No amount is read.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    promotion_id, number = _coupon_parts(coupon_id, faults)
    customer_id = _take(body, "customerId", identifier, faults)
    reference = None
    if "paymentReference" in body:
        reference = _take(body, "paymentReference", identifier, faults)
    if faults:
        raise InvalidInput(faults)
    return PayCoupon(promotion_id, number, customer_id, reference)


def give_back_from(coupon_id: str, source: Mapping[str, Any]) -> GiveBackCoupon:
    """A coupon to give back; the customerId comes in the body or in the query string.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    promotion_id, number = _coupon_parts(coupon_id, faults)
    customer_id = _take(source, "customerId", identifier, faults)
    if faults:
        raise InvalidInput(faults)
    return GiveBackCoupon(promotion_id, number, customer_id)


def key_from(headers: Mapping[str, str]) -> str | None:
    """The request's Idempotency-Key, if it has one.

    Raises:
        InvalidInput: it is not an identifier.
    """
    faults: dict[str, str] = {}
    key = _key_from(headers, faults)
    if faults:
        raise InvalidInput(faults)
    return key


def path_id(name: str, value: str) -> str:
    """An id from the path, decoded.

    Raises:
        InvalidInput: names the parameter.
    """
    return str(_checked({name: unquote(value)}, name, identifier))


def page_from(query: Mapping[str, str] | None, after: Callable[[Any], Any]) -> tuple[Any, int]:
    """(after, limit) from a query string; `after` checks the former, the limit is 1 to 100.

    Raises:
        InvalidInput: names each bad parameter.
    """
    given = query or {}
    faults: dict[str, str] = {}
    start = _take(given, "after", after, faults) if "after" in given else None
    limit = PAGE_LIMIT
    if "limit" in given:
        limit = _take(given, "limit", lambda value: whole(value, 1, PAGE_LIMIT), faults)
    if faults:
        raise InvalidInput(faults)
    return start, limit


def coupon_state_from(query: Mapping[str, str] | None) -> str | None:
    """The parameter `state` of a query string, if it has one.

    Raises:
        InvalidInput: there is no such state.
    """
    state = (query or {}).get("state")
    if state is not None and state not in COUPON_STATES:
        raise InvalidInput({"state": f"must be one of {', '.join(COUPON_STATES)}"})
    return state


def _coupon_parts(coupon_id: str, faults: dict[str, str]) -> tuple[str, int]:
    promotion_id, _, number = unquote(coupon_id).rpartition("-")
    if not ID.fullmatch(promotion_id) or not DIGITS.fullmatch(number):
        faults["couponId"] = "must be a promotion's id, a dash and a number"
        return "", 0
    return promotion_id, int(number)


def _key_from(headers: Mapping[str, str], faults: dict[str, str]) -> str | None:
    if "idempotency-key" not in headers:
        return None
    return cast("str | None", _take(headers, "idempotency-key", identifier, faults))


def _unknown_fields(body: Mapping[str, Any], known: Collection[str], what: str) -> dict[str, str]:
    return {name[:128]: f"is not a field of {what}" for name in sorted(set(body) - set(known))}


def _take(
    source: Mapping[str, Any], name: str, check: Callable[[Any], Any], faults: dict[str, str]
) -> Any:
    if source.get(name) is None:
        faults[name] = "is required"
        return None
    try:
        return check(source[name])
    except Fault as fault:
        faults[name] = str(fault)
        return None


def _checked(source: Mapping[str, Any], name: str, check: Callable[[Any], Any]) -> Any:
    faults: dict[str, str] = {}
    value = _take(source, name, check, faults)
    if faults:
        raise InvalidInput(faults)
    return value


def _parse_int(text: str) -> int | Decimal:
    return int(text) if len(text) <= len(str(2**63)) else Decimal("NaN")


def _parse_float(text: str) -> Decimal:
    """Numbers beyond any range, NaN and Infinity become NaN: their field is refused by its name."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")


# Field -> (check, whether it must be there, what it is when it is not).
_OFFER: dict[str, tuple[Callable[[Any], Any], bool, Any]] = {
    "numberOfCoupons": (lambda value: whole(value, 1, MAX_COUPONS), True, None),
    "discount": (discount, True, None),
    "publishTime": (time_ms, True, None),
    "finishTime": (time_ms, True, None),
    "couponsPerCustomer": (lambda value: whole(value, 1, MAX_COUPONS_PER_CUSTOMER), False, 1),
    "holdSeconds": (lambda value: whole(value, 0, MAX_HOLD_S), False, 0),
    "itemId": (identifier, False, None),
    "admission": (admission, False, "open"),
}
