"""Checks of single values that come from outside: what a field may be, and its exact form."""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

# Beyond the year 2100 a time is a mistake, and 13 digits are exact in Lua's %.14g.
MAX_TIME_MS = 4_102_444_800_000
DISCOUNT_DIGITS = 4
MAX_PRICE = 1_000_000_000
PRICE_DIGITS = 2
MAX_LINE = 200

ID = re.compile(r"[A-Za-z0-9_.:@+~-]{1,128}")
DIGITS = re.compile(r"[0-9]{1,15}")
_WEB_ADDRESS = re.compile(r"https?://[!-~]{1,1990}")


class Fault(Exception):
    """A value can't be taken; the message says what could be."""


def identifier(value: Any) -> str:
    """1 to 128 letters, digits or any of `_ . : @ + ~ -`; a whole number counts as its digits."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not ID.fullmatch(text):
        message = "must be 1 to 128 letters, digits or any of _ . : @ + ~ -"
        raise Fault(message)
    return text


def whole(value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`, as a number or as its digits."""
    if isinstance(value, str) and DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        message = f"must be a whole number from {low} to {high}"
        raise Fault(message)
    return value


def discount(value: Any) -> Decimal:
    """An exact decimal above 0 and up to 1, with at most four decimal places."""
    return _decimal(
        value,
        Decimal(1),
        DISCOUNT_DIGITS,
        f"must be a decimal above 0 and up to 1, with at most {DISCOUNT_DIGITS} places",
    )


def price(value: Any) -> Decimal:
    """An exact decimal from 0.01 to 1,000,000,000 with at most two decimal places."""
    return _decimal(
        value,
        Decimal(MAX_PRICE),
        PRICE_DIGITS,
        "must be a decimal from 0.01 to 1000000000, with at most 2 places",
    )


def line(value: Any) -> str:
    """One line of text, 1 to 200 characters that can be printed."""
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= MAX_LINE
        or not value.isprintable()
        or value.isspace()
    ):
        message = f"must be 1 to {MAX_LINE} printable characters"
        raise Fault(message)
    return value


def web_address(value: Any) -> str:
    """An http or https address of at most 2,000 characters."""
    if not isinstance(value, str) or not _WEB_ADDRESS.fullmatch(value):
        message = "must be an http or https address of at most 2000 characters"
        raise Fault(message)
    return value


def admission(value: Any) -> str:
    """How customers are admitted to a promotion."""
    if value not in ("open", "token"):
        message = "must be 'open' or 'token'"
        raise Fault(message)
    return str(value)


def coupon_number(value: Any) -> int:
    """A coupon's number, or 0 for the place before the first."""
    return whole(value, 0, 2**53)


def time_ms(value: Any) -> int:
    """Epoch ms from epoch ms or ISO 8601; a time without an offset is UTC."""
    message = "must be epoch milliseconds or an ISO 8601 time, from 1970 to 2100"
    if isinstance(value, str) and not DIGITS.fullmatch(value):
        try:
            parsed = datetime.fromisoformat(value)
            aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            value = int(aware.timestamp() * 1000)
        except (ValueError, OverflowError):
            raise Fault(message) from None
    try:
        return whole(value, 0, MAX_TIME_MS)
    except Fault:
        raise Fault(message) from None


def _decimal(value: Any, high: Decimal, places: int, message: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise Fault(message)
    if isinstance(value, str) and len(value) > 32:  # noqa: PLR2004 - no decimal of ours is longer
        raise Fault(message)
    try:
        exact = Decimal(value)
    except InvalidOperation:
        raise Fault(message) from None
    if not exact.is_finite() or not 0 < exact <= high:
        raise Fault(message)
    rounded = exact.quantize(Decimal(1).scaleb(-places))
    if rounded != exact:
        raise Fault(message)
    return Decimal(f"{rounded.normalize():f}")
