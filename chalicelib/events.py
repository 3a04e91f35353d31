"""The events: what was decided, in the past tense, and how it travels.

An event is a frozen dataclass. On the wire it is one JSON object in camelCase whose `type`
is the class name. Every event carries the promotion's counts as they were right after it,
so a read model can take the newest event it sees and forget the rest.

The text of an event is made once, when it is decided. Everybody after that passes this very text
on, so content that this version does not know reaches the journal unchanged.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

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
    The counts hold `stock = available + held + sold`. `wire` is the text it came as, None for a
    new event; `extra` are the fields that this version does not know.
    """

    promotion_id: str
    version: int
    at: int
    stock: int
    available: int
    held: int
    sold: int
    wire: str | None = field(default=None, init=False, compare=False, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

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
        return {**wire, **self.extra}

    def to_wire(self) -> str:
        """The message body: the text that the event came as, or a new one."""
        return self.wire or _to_json(self.to_dict())

    @classmethod
    def from_mapping(cls, wire: Mapping[str, Any], text: str | None = None) -> Self:
        """An event of this class from its wire fields; `text` is what they were parsed from.

        Raises:
            InvalidEvent: a required field is missing or of the wrong type.
        """
        values: dict[str, Any] = {}
        unknown = dict(wire)
        unknown.pop("type", None)
        for name, wire_name, convert in _shape(cls):
            if wire_name in unknown:
                value = unknown.pop(wire_name)
                try:
                    values[name] = convert(value)
                except (TypeError, ValueError, ArithmeticError) as error:
                    message = f"{cls.__name__}.{wire_name}: {value!r}"
                    raise InvalidEvent(message) from error
        if unknown:
            values["extra"] = unknown
        try:
            return _with_text(cls(**values), text)
        except TypeError as error:
            raise InvalidEvent(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionStarted(Event):
    """The sale opened. Carries the whole offer, so that the read side needs nothing else.

    `admission` is "token" where grabs need one; None where it is open. `revision` counts the
    edits and restocks that are in it; `restocks` has the latter as "<key>=<added>", joined by ";".
    """

    discount: Decimal
    opens_at: int
    closes_at: int
    coupons_per_customer: int
    hold_seconds: int
    price: Decimal | None = None
    item_id: str | None = None
    admission: str | None = None
    revision: int | None = None
    restocks: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponEvent(Event):
    """What every event of a coupon carries: the whole coupon, as it is from then on.

    `number` counts the grants of the promotion: 1, 2, 3, ... Times are epoch ms. `state` is
    what the event makes of the coupon. `request_key` is that of the grab.
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
class CouponExtended(CouponEvent):
    """The deadline moved by the time in which a recovery kept everybody from paying."""

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
    """The store had forgotten this coupon, and could not keep it.

    `reason` is SOLD_TWICE, or RENUMBERED: then `moved_to` is the number that replaces this one.
    """

    state: ClassVar[str] = "REVOKED"

    reason: str
    moved_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRestocked(Event):
    """`added` units were added; the counts include them. `request_key` is that of the restock.

    `revision` counts the edits and restocks up to this one.
    """

    added: int
    request_key: str | None = None
    revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRecovered(Event):
    """The store was given back its state from the journal, in a new generation of versions.

    It ends what the recovery decided, and carries the whole promotion but for its coupons, so a
    fold starts at the newest one. Events of before 2026-11-25 have `reason` and `lost` only.

    reason: what had happened to the store. lost: how many versions nobody could find. state:
    SCHEDULED, ON_SALE, FINISHED or CANCELLED. closed_as, closed_at: once it is over. The offer is
    as in PromotionStarted. granted: the highest number of a coupon. restocks: "<key>=<added>" of
    every restock that is in `stock`, joined by ";". known: the versions that the recovery has read,
    as ranges "1-7,9", "0" for none; what has a lower version than this event and is not in them
    came too late. fence: token of the fence that it was decided behind.
    """

    reason: str
    lost: int
    state: str | None = None
    closed_as: str | None = None
    closed_at: int | None = None
    discount: Decimal | None = None
    opens_at: int | None = None
    closes_at: int | None = None
    coupons_per_customer: int | None = None
    hold_seconds: int | None = None
    price: Decimal | None = None
    item_id: str | None = None
    admission: str | None = None
    granted: int | None = None
    revision: int | None = None
    restocks: str | None = None
    known: str | None = None
    fence: str | None = None


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
    wire: str | None = field(default=None, init=False, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The event as it came."""
        return dict(self.body)

    def to_wire(self) -> str:
        """The message body."""
        return self.wire or _to_json(self.to_dict())


AnyEvent = Event | UnknownEvent
E = TypeVar("E", bound=AnyEvent)


_TYPES: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        PromotionStarted,
        CouponGrabbed,
        CouponExtended,
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
    """The event in a message body, which it keeps as its text.

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
    return from_mapping(wire, body)


def from_mapping(wire: Mapping[str, Any], text: str | None = None) -> AnyEvent:
    """The event in a mapping of its wire fields; `text` is what they were parsed from.

    Raises:
        InvalidEvent: not an event.
    """
    name = wire.get("type")
    cls = _TYPES.get(name) if isinstance(name, str) else None
    if cls is not None:
        return cls.from_mapping(wire, text)
    try:
        event = UnknownEvent(
            type=_text(name),
            promotion_id=_text(wire["promotionId"]),
            version=_whole(wire["version"]),
            at=_whole(wire["at"]),
            body=wire,
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"no event: {str(wire)[:80]}"
        raise InvalidEvent(message) from error
    return _with_text(event, text)


def to_entry(event: AnyEvent) -> dict[str, str]:
    """The event as an entry of the outbox: its text, in one field."""
    return {"event": event.to_wire()}


def from_entry(entry: Mapping[str, str]) -> AnyEvent:
    """The event in an entry of the outbox.

    Scripts of before 2026-11-25 wrote each field of the event as a text of its own. Numbers are
    known by the field's name; of unknown fields, what looks like a whole number is one.

    Raises:
        InvalidEvent: not an event.
    """
    if "event" in entry:
        return parse(entry["event"])
    return from_mapping({name: _typed(name, text) for name, text in entry.items()})


def from_reply(told: str | Sequence[str]) -> AnyEvent:
    """The event in a script's reply: its text, or the flat list of an entry of before."""
    if isinstance(told, str):
        return parse(told)
    items = iter(told)
    return from_entry(dict(zip(items, items, strict=True)))


def _typed(name: str, text: str) -> Any:
    """A field of an old entry of the outbox, as JSON has it."""
    is_text = name in _text_fields()
    return int(text) if not is_text and re.fullmatch(r"-?(0|[1-9][0-9]*)", text) else text


@cache
def _text_fields() -> frozenset[str]:
    shapes = [_shape(cls) for cls in _TYPES.values()]
    return frozenset(
        wire_name for shape in shapes for _, wire_name, convert in shape if convert is not _whole
    )


def _with_text(event: E, text: str | None) -> E:
    """Keep the text that a frozen event was parsed from; `replace` drops it again."""
    object.__setattr__(event, "wire", text)
    return event


def _to_json(wire: Mapping[str, Any]) -> str:
    return json.dumps(wire, separators=(",", ":"), ensure_ascii=False)


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
        _SHAPES[cls] = [
            (f.name, _camel(f.name), _CONVERT[f.type]) for f in fields(cls) if f.compare
        ]
    return _SHAPES[cls]


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)
