"""The events: what was decided, in the past tense, and how it travels.

An event is a frozen dataclass. On the wire it is one JSON object in camelCase whose `type`
is the class name. Every event carries the promotion's counts as they were right after it,
so a read model can take the newest event it sees and forget the rest.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, ClassVar, Self

# Versions of a promotion count 1, 2, 3, ... within a generation. Each recovery of its store state
# opens the next one, far beyond any count, so what is decided before and after can't collide.
GENERATION = 10**10


class InvalidEvent(ValueError):
    """A message that is not an event: no JSON object, or a field missing or of the wrong type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have.

    promotion_id and version are its identity; versions of a promotion count 1, 2, 3, ...
    without gaps, within a generation. `at` is the store's clock at the decision, in epoch ms.
    The counts hold `stock = available + held + sold`.
    """

    promotion_id: str
    version: int
    at: int
    stock: int
    available: int
    held: int
    sold: int

    @property
    def type(self) -> str:
        """The event's name on the wire."""
        return type(self).__name__

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON types, in camelCase; decimals as strings, absent values left out."""
        wire: dict[str, Any] = {"type": self.type}
        for name, wire_name, _ in _shape(type(self)):
            value = getattr(self, name)
            if value is not None:
                wire[wire_name] = str(value) if isinstance(value, Decimal) else value
        return wire

    def to_wire(self) -> str:
        """The message body."""
        return json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=False)

    def to_fields(self) -> dict[str, str]:
        """The event as the outbox has it: the wire's fields, all as text."""
        return {name: str(value) for name, value in self.to_dict().items()}

    @classmethod
    def from_mapping(cls, wire: Mapping[str, Any]) -> Self:
        """An event of this class from its wire fields; unknown fields are ignored.

        Raises:
            InvalidEvent: a required field is missing or of the wrong type.
        """
        values = {}
        for name, wire_name, convert in _shape(cls):
            if wire_name in wire:
                try:
                    values[name] = convert(wire[wire_name])
                except (TypeError, ValueError, ArithmeticError) as error:
                    message = f"{cls.__name__}.{wire_name}: {wire[wire_name]!r}"
                    raise InvalidEvent(message) from error
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidEvent(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionStarted(Event):
    """The sale opened. Carries the whole offer, so that the read side needs nothing else.

    `admission` is "token" where grabs need one; None where it is open.
    """

    discount: Decimal
    opens_at: int
    closes_at: int
    coupons_per_customer: int
    hold_seconds: int
    price: Decimal | None = None
    item_id: str | None = None
    admission: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponEvent(Event):
    """What every event of a coupon carries: the whole coupon, as it is from then on.

    `number` counts the grants of the promotion: 1, 2, 3, ... Times are epoch ms. `state` is
    what the event makes of the coupon. `request_key` is that of the grab, where a customer may
    have more than one coupon.
    """

    state: ClassVar[str]

    customer_id: str
    number: int
    discount: Decimal
    grabbed_at: int
    price: Decimal | None = None
    deadline: int | None = None
    paid_at: int | None = None
    payment_reference: str | None = None
    request_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponGrabbed(CouponEvent):
    """A unit was taken: for good, or until `deadline` where it must be paid."""

    state: ClassVar[str] = "GRABBED"


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponPaid(CouponEvent):
    """The unit is sold."""

    state: ClassVar[str] = "PAID"


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponReleased(CouponEvent):
    """The unit is free again. `reason` is EXPIRED, GIVEN_BACK or CANCELLED."""

    state: ClassVar[str] = "RELEASED"

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRecorded(CouponEvent):
    """A payment came for a unit that was gone. `reason` is what the customer was told."""

    state: ClassVar[str] = "REFUND_DUE"

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponRevoked(CouponEvent):
    """The store had forgotten this coupon, and could not keep it. `reason` says why."""

    state: ClassVar[str] = "REVOKED"

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRestocked(Event):
    """`added` units were added; the counts include them. `request_key` is that of the restock."""

    added: int
    request_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRecovered(Event):
    """The store was given back its state from the journal; a new generation of versions begins.

    `reason` is what had happened to the store; `lost` counts versions nobody could find.
    """

    reason: str
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionAudited(Event):
    """An operator had the promotion reconciled: how many differences, of which kinds."""

    differences: int
    kinds: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionEnded(Event):
    """What both ends of a sale carry: nothing is sold after it."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionFinished(PromotionEnded):
    """The sale is over. `reason` is SOLD_OUT or FINISHED (its end time was reached)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionCancelled(PromotionEnded):
    """The operator stopped the promotion. `reason` is CANCELLED."""


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event of a type this version does not know. The journal keeps it; others skip it."""

    type: str
    promotion_id: str
    version: int
    at: int
    body: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The event as it came."""
        return dict(self.body)

    def to_wire(self) -> str:
        """The message body."""
        return json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=False)

    def to_fields(self) -> dict[str, str]:
        """The event as the outbox has it: the wire's fields, all as text."""
        return {name: str(value) for name, value in self.to_dict().items()}


AnyEvent = Event | UnknownEvent


_TYPES: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        PromotionStarted,
        CouponGrabbed,
        CouponPaid,
        CouponReleased,
        RefundRecorded,
        CouponRevoked,
        PromotionRestocked,
        PromotionRecovered,
        PromotionAudited,
        PromotionFinished,
        PromotionCancelled,
    )
}


def parse(body: str) -> AnyEvent:
    """The event in a message body.

    Raises:
        InvalidEvent: not a JSON object, or not an event.
    """
    try:
        wire = json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f"not JSON: {body[:80]!r}"
        raise InvalidEvent(message) from error
    if not isinstance(wire, dict):
        message = f"not an object: {body[:80]!r}"
        raise InvalidEvent(message)
    return from_mapping(wire)


def from_mapping(wire: Mapping[str, Any]) -> AnyEvent:
    """The event in a mapping of its wire fields; values may be strings, as the outbox has them.

    Raises:
        InvalidEvent: not an event.
    """
    name = wire.get("type")
    cls = _TYPES.get(name) if isinstance(name, str) else None
    if cls is not None:
        return cls.from_mapping(wire)
    try:
        return UnknownEvent(
            type=_text(name),
            promotion_id=_text(wire["promotionId"]),
            version=_whole(wire["version"]),
            at=_whole(wire["at"]),
            body=wire,
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"no event: {str(wire)[:80]}"
        raise InvalidEvent(message) from error


def from_fields(flat: Iterable[Any]) -> AnyEvent:
    """The event in a flat list `name, value, name, value, ...`, as scripts return it."""
    items = iter(flat)
    return from_mapping(dict(zip(items, items, strict=True)))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(value)
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    return int(value)


def _decimal(value: Any) -> Decimal:
    return Decimal(_text(value))


_CONVERT: dict[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _whole,
    int | None: _whole,
    str | None: _text,
    Decimal | None: _decimal,
    Decimal: _decimal,
}
_SHAPES: dict[type[Event], list[tuple[str, str, Callable[[Any], Any]]]] = {}


def _shape(cls: type[Event]) -> list[tuple[str, str, Callable[[Any], Any]]]:
    """(attribute, wire name, conversion) of each field, computed once per class."""
    if cls not in _SHAPES:
        _SHAPES[cls] = [(f.name, _camel(f.name), _CONVERT[f.type]) for f in fields(cls)]
    return _SHAPES[cls]


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)
