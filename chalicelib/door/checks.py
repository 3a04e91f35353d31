"""Checks of single values that come from outside: what a field may be, and its exact form.

Each check says the same twice: to us, by refusing what it can't take, and to programs, by a JSON
Schema that the OpenAPI document shows.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Beyond the year 2100 a time is a mistake, and 13 digits are exact in Lua's %.14g.
MAX_TIME_MS = 4_102_444_800_000
# What has fewer digits is meant as seconds, or as a day without dashes. As milliseconds it would be
# in 1970, and open a sale at once; who wants that says 0.
_LEAST_TIME_MS = 10**12
# Java's Long.MAX_VALUE, with which the old system's clients say that a promotion has no end.
NO_END = 2**63 - 1
DISCOUNT_DIGITS = 4
MAX_PRICE = 1_000_000_000
PRICE_DIGITS = 2
MAX_LINE = 200

ID = re.compile(r"[A-Za-z0-9_.:@+~-]{1,128}")
_MOST_DIGITS = 15
_MOST_ID = 10**18 - 1
DIGITS = re.compile(f"[0-9]{{1,{_MOST_DIGITS}}}")
# What the document promises of times; more forms of ISO 8601 are taken.
_ISO_8601 = (
    "^(197[1-9]|19[89][0-9]|20[0-9][0-9])-(0?[1-9]|1[0-2])-(0?[1-9]|1[0-9]|2[0-8])"
    "(T([01]?[0-9]|2[0-3]):[0-5]?[0-9]:[0-5]?[0-9](Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?)?$"
)
# The old system's clients leave out the noughts: `2017-9-1T8:00:00Z`. A fraction keeps its digit.
_WITH_DASHES = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([T ].*)?")
_ONE_DIGIT = re.compile(r"(?<![0-9.])[0-9](?![0-9])")
# No sign, exponent, blank, underscore or digit of another script, all of which Decimal takes.
_PLAIN_DECIMAL = re.compile(r"[0-9]{0,16}\.?[0-9]{1,16}")
# Printable ASCII without `"<>\^{|}` and the backtick, which RFC 3986 has in no address.
_WEB_ADDRESS = re.compile(r"https?://[!#-;=?-\[\]_a-z~]{1,1990}")


class Fault(Exception):
    """A value can't be taken; the message says what could be."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one value may be. `take` gives its exact form or raises a Fault; `schema` tells it."""

    take: Callable[[Any], Any]
    schema: Mapping[str, Any]


def _identifier(value: Any) -> str:
    if not isinstance(value, str):
        number = _integer(value)
        value = str(number) if number is not None and abs(number) <= _MOST_ID else ""
    if not ID.fullmatch(value):
        message = "must be 1 to 128 letters, digits or any of _ . : @ + ~ -"
        raise Fault(message)
    return str(value)


def _whole(value: Any, low: int, high: int) -> int:
    digits = isinstance(value, str) and DIGITS.fullmatch(value)
    number = int(value) if digits else _integer(value)
    if number is None or not low <= number <= high:
        message = f"must be a whole number from {low} to {high}"
        raise Fault(message)
    return number


def _integer(value: Any) -> int | None:
    """What JSON Schema calls an integer: 5 and 5.0, but no text and no truth."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, Decimal) and value.is_finite() and abs(value) <= _MOST_ID:
        return int(value) if value == int(value) else None
    return None


def _discount(value: Any) -> Decimal:
    return _decimal(
        value,
        Decimal(1),
        DISCOUNT_DIGITS,
        f"must be a decimal above 0 and up to 1, with at most {DISCOUNT_DIGITS} places",
    )


def _price(value: Any) -> Decimal:
    return _decimal(
        value,
        Decimal(MAX_PRICE),
        PRICE_DIGITS,
        "must be a decimal from 0.01 to 1000000000, with at most 2 places",
    )


def _line(value: Any) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= MAX_LINE
        or not value.isprintable()
        or value.isspace()
    ):
        message = f"must be 1 to {MAX_LINE} printable characters"
        raise Fault(message)
    return value


def _web_address(value: Any) -> str:
    if not isinstance(value, str) or not _WEB_ADDRESS.fullmatch(value):
        message = (
            "must be an http or https address of at most 2000 characters, encoded as in a link"
        )
        raise Fault(message)
    return value


def _time_ms(value: Any) -> int:
    try:
        if isinstance(value, str) and not DIGITS.fullmatch(value):
            parsed = datetime.fromisoformat(_padded(value))
            aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            return _whole((aware - _EPOCH) // timedelta(milliseconds=1), 0, MAX_TIME_MS)
        return _whole(value, _LEAST_TIME_MS if _whole(value, 0, MAX_TIME_MS) else 0, MAX_TIME_MS)
    except (ValueError, OverflowError, Fault):
        message = (
            "must be epoch milliseconds (0, or 13 digits) or an ISO 8601 time, from 1970 to 2100"
        )
        raise Fault(message) from None


def _padded(text: str) -> str:
    return _ONE_DIGIT.sub(r"0\g<0>", text) if _WITH_DASHES.fullmatch(text) else text


def _end_ms(value: Any) -> int:
    return MAX_TIME_MS if str(value) == str(NO_END) else _time_ms(value)


def _decimal(value: Any, high: Decimal, places: int, message: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise Fault(message)
    if isinstance(value, str) and not _PLAIN_DECIMAL.fullmatch(value):
        raise Fault(message)
    exact = Decimal(value)
    if not exact.is_finite() or not 0 < exact <= high:
        raise Fault(message)
    rounded = exact.quantize(Decimal(1).scaleb(-places))
    if rounded != exact:
        raise Fault(message)
    return Decimal(f"{rounded.normalize():f}")


def whole(low: int, high: int) -> Check:
    """A whole number from `low` (0 or 1) to `high`, as a number or as its digits."""
    bounds = {"type": "integer", "minimum": low, "maximum": high}
    more = min(len(str(high)), _MOST_DIGITS) - 2
    digits = {"type": "string", "pattern": f"^[{low}-9][0-9]{{0,{more}}}$"}
    return Check(lambda value: _whole(value, low, high), {"anyOf": [bounds, digits]})


def one_of(*words: str) -> Check:
    """One of `words`."""

    def take(value: Any) -> str:
        if value not in words:
            message = f"must be one of {', '.join(words)}"
            raise Fault(message)
        return str(value)

    return Check(take, {"type": "string", "enum": list(words)})


# 1 to 128 letters, digits or any of `_ . : @ + ~ -`; a whole number counts as its digits.
identifier = Check(
    _identifier,
    {
        "anyOf": [
            {"type": "string", "pattern": f"^{ID.pattern}$"},
            {"type": "integer", "minimum": -_MOST_ID, "maximum": _MOST_ID},
        ]
    },
)
# An exact decimal above 0 and up to 1, with at most four decimal places.
discount = Check(
    _discount,
    {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "multipleOf": 0.0001},
            {"type": "string", "pattern": r"^(0?\.[0-9]{0,3}[1-9]0{0,4}|1(\.0{1,4})?)$"},
        ]
    },
)
# An exact decimal from 0.01 to 1,000,000,000 with at most two decimal places.
price = Check(
    _price,
    {
        "anyOf": [
            {"type": "number", "minimum": 0.01, "maximum": MAX_PRICE, "multipleOf": 0.01},
            {
                "type": "string",
                "pattern": r"^(0?\.(0[1-9]|[1-9][0-9]?)|[1-9][0-9]{0,8}(\.[0-9]{1,2})?)$",
            },
        ]
    },
)
# One line of text, 1 to 200 characters that can be printed.
line = Check(_line, {"type": "string", "minLength": 1, "maxLength": MAX_LINE})
# An http or https address of at most 2,000 characters.
web_address = Check(_web_address, {"type": "string", "pattern": f"^{_WEB_ADDRESS.pattern}$"})
# A coupon's number, or 0 for the place before the first.
coupon_number = whole(0, 10**_MOST_DIGITS - 1)
# Epoch ms from epoch ms or ISO 8601; a time without an offset is UTC.
time_ms = Check(
    _time_ms,
    {
        "anyOf": [
            {"type": "integer", "minimum": _LEAST_TIME_MS, "maximum": MAX_TIME_MS},
            {"enum": [0, "0"]},
            {"type": "string", "pattern": "^([1-3][0-9]{12}|40[0-9]{11})$"},
            {"type": "string", "pattern": _ISO_8601, "examples": ["2029-12-01T10:00:00Z"]},
        ]
    },
)
# The same, or the one number that stands for no end.
end_ms = Check(
    _end_ms,
    {"anyOf": [*time_ms.schema["anyOf"], {"enum": [NO_END, str(NO_END)]}]},
)
