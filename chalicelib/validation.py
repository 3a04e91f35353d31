"""What comes in from outside, checked: every fault of a body in one answer, each by its field."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote

from chalicelib.commands.create_promotion import CreatePromotion
from chalicelib.commands.grab import GrabCoupon

MAX_BODY_BYTES = 16 * 1024
# Beyond the year 2100 a time is a mistake, and 13 digits are exact in Lua's %.14g.
MAX_TIME_MS = 4_102_444_800_000
MAX_COUPONS = 10_000_000
DISCOUNT_DIGITS = 4
PAGE_LIMIT = 100

_ID = re.compile(r"[A-Za-z0-9_.:@+~-]{1,128}")
_DIGITS = re.compile(r"[0-9]{1,15}")


class InvalidInput(Exception):
    """The request can't be understood; `faults` maps a field (or "body") to what is wrong."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        """Name each bad field."""
        super().__init__(", ".join(faults))
        self.faults = dict(faults)


class _Fault(Exception):
    """One field's value can't be taken; the message says what would be."""


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


def create_promotion_from(body: Mapping[str, Any], now_ms: int) -> CreatePromotion:
    """The command in an admin's body; unknown fields are refused.

    Args:
        body: numberOfCoupons, discount, publishTime, finishTime.
        now_ms: the store's clock; a promotion must not be over already.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    known = {
        "numberOfCoupons": lambda value: whole(value, 1, MAX_COUPONS),
        "discount": discount,
        "publishTime": time_ms,
        "finishTime": time_ms,
    }
    values = {name: _take(body, name, check, faults) for name, check in known.items()}
    for name in sorted(set(body) - set(known)):
        faults[name[:128]] = "is not a field of a promotion"
    if "publishTime" not in faults and "finishTime" not in faults:
        if values["finishTime"] <= values["publishTime"]:
            faults["finishTime"] = "must be after publishTime"
        elif values["finishTime"] <= now_ms:
            faults["finishTime"] = "must be in the future"
    if faults:
        raise InvalidInput(faults)
    return CreatePromotion(
        number_of_coupons=values["numberOfCoupons"],
        discount=values["discount"],
        publish_time=values["publishTime"],
        finish_time=values["finishTime"],
    )


def grab_from(body: Mapping[str, Any]) -> GrabCoupon:
    """The command in a customer's body.

    Raises:
        InvalidInput: names each bad field.
    """
    faults: dict[str, str] = {}
    promotion_id = _take(body, "promotionId", identifier, faults)
    customer_id = _take(body, "customerId", identifier, faults)
    if faults:
        raise InvalidInput(faults)
    return GrabCoupon(promotion_id=promotion_id, customer_id=customer_id)


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


def identifier(value: Any) -> str:
    """1 to 128 letters, digits or any of `_ . : @ + ~ -`; a whole number counts as its digits."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _ID.fullmatch(text):
        message = "must be 1 to 128 letters, digits or any of _ . : @ + ~ -"
        raise _Fault(message)
    return text


def whole(value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`, as a number or as its digits."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        message = f"must be a whole number from {low} to {high}"
        raise _Fault(message)
    return value


def discount(value: Any) -> Decimal:
    """An exact decimal above 0 and up to 1, with at most four decimal places."""
    message = f"must be a decimal above 0 and up to 1, with at most {DISCOUNT_DIGITS} places"
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise _Fault(message)
    if isinstance(value, str) and len(value) > 32:  # noqa: PLR2004 - no decimal of ours is longer
        raise _Fault(message)
    try:
        exact = Decimal(value)
    except InvalidOperation:
        raise _Fault(message) from None
    if not exact.is_finite() or not 0 < exact <= 1:
        raise _Fault(message)
    exact = exact.normalize()
    if -int(exact.as_tuple().exponent) > DISCOUNT_DIGITS:
        raise _Fault(message)
    return exact


def coupon_number(value: Any) -> int:
    """A coupon's number, or 0 for the place before the first."""
    return whole(value, 0, 2**53)


def time_ms(value: Any) -> int:
    """Epoch ms from epoch ms or ISO 8601; a time without an offset is UTC."""
    message = "must be epoch milliseconds or an ISO 8601 time, from 1970 to 2100"
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        try:
            parsed = datetime.fromisoformat(value)
            aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            value = int(aware.timestamp() * 1000)
        except (ValueError, OverflowError):
            raise _Fault(message) from None
    try:
        return whole(value, 0, MAX_TIME_MS)
    except _Fault:
        raise _Fault(message) from None


def _take(
    source: Mapping[str, Any], name: str, check: Callable[[Any], Any], faults: dict[str, str]
) -> Any:
    if source.get(name) is None:
        faults[name] = "is required"
        return None
    try:
        return check(source[name])
    except _Fault as fault:
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
