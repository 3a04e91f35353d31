"""From a promotion's events back to the state of its store: a plain fold, no store involved.

What the scripts keep in the hash, the customers and the holds is all in the events. Of the
promotion itself the newest `PromotionRecovered` has everything, so the fold starts there; coupons
are folded from all events, because each event of a coupon carries the whole of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from chalicelib.events import (
    GENERATION,
    AnyEvent,
    CouponEvent,
    CouponReleased,
    CouponRevoked,
    Event,
    PromotionCancelled,
    PromotionEnded,
    PromotionRecovered,
    PromotionRestocked,
    PromotionStarted,
    RefundRecorded,
)

Place = tuple[str, int]
"""A coupon's identity: its customer and its number. A number alone may be two customers'."""

# The letters of coupon.lua, by what the newest event of a coupon says.
_RELEASED = {"GIVEN_BACK": "B"}
_REFUND = {"HOLD_EXPIRED": "D", "COUPON_RELEASED": "E", "CANCELLED": "F", "REVOKED": "W"}


@dataclass(slots=True)
class Folded:
    """A promotion as its events tell it: what counts of each coupon, and how it stands.

    base: what the offer is read from: the start, or the newest recovery. restocks: units added by
    key, of every restock that is in `stock`. revision: the newest of a restock. overruled: coupons
    whose newest event does not count, because money had moved before. disputed: coupons of which
    another story does not count, but may be what the read tables show. references: those of all
    payments of a coupon. second_payments: of coupons that were paid for twice, by stories that knew
    nothing of one another.
    """

    base: PromotionStarted | PromotionRecovered | None = None
    closed_as: str | None = None
    closed_at: int = 0
    closed_version: int = 0
    closed_stock: int = 0
    stock: int = 0
    newest: int = 0
    restocks: dict[str, int] = field(default_factory=dict)
    revision: int = 0
    coupons: dict[Place, CouponEvent] = field(default_factory=dict)
    overruled: set[Place] = field(default_factory=set)
    disputed: set[Place] = field(default_factory=set)
    references: dict[Place, list[str]] = field(default_factory=dict)
    second_payments: list[CouponEvent] = field(default_factory=list)

    @property
    def started(self) -> bool:
        """Whether the sale has opened."""
        return isinstance(self.base, PromotionStarted) or (
            self.base is not None and self.base.state != "SCHEDULED"
        )

    @property
    def active(self) -> list[CouponEvent]:
        """The coupons that have a unit, in the order in which they were grabbed."""
        taken = [c for c in self.coupons.values() if c.state in ("GRABBED", "PAID")]
        return sorted(taken, key=lambda coupon: (coupon.grabbed_at, coupon.number))

    @property
    def sold(self) -> int:
        """How many units are sold: paid for, or grabbed for good."""
        return sum(c.state == "PAID" or c.deadline is None for c in self.active)

    @property
    def held(self) -> int:
        """How many units wait for payment."""
        return len(self.active) - self.sold

    @property
    def granted(self) -> int:
        """The highest number that a coupon has got."""
        known = self.base.granted if isinstance(self.base, PromotionRecovered) else None
        return max((known or 0, *(number for _, number in self.coupons)))

    @property
    def state(self) -> str:
        """The promotion's state, as the store has it."""
        if self.closed_as is None:
            return "ON_SALE" if self.started else "SCHEDULED"
        return "CANCELLED" if self.closed_as == "CANCELLED" else "FINISHED"


def fold(events: Iterable[AnyEvent]) -> Folded:
    """Fold `events`, in order of version."""
    folded = Folded()
    for event in events:
        folded.newest = max(folded.newest, event.version)
        if isinstance(event, Event):
            _fold_one(folded, event)
    return folded


def _fold_one(folded: Folded, event: Event) -> None:
    if isinstance(event, PromotionRecovered) and event.state is not None:
        folded.base = event
        folded.stock = event.stock
        folded.restocks = restocks_in_text(event.restocks or "")
        folded.closed_as = event.closed_as
        folded.closed_at = event.closed_at or 0
        folded.closed_version = event.version
        folded.closed_stock = event.stock
    elif isinstance(event, PromotionStarted):
        if folded.base is None or not folded.started:
            _begin_with(folded, event)
    elif isinstance(event, PromotionRestocked):
        add_restock(folded, event)
    elif isinstance(event, PromotionEnded):
        if folded.closed_as != "CANCELLED":  # a store that had forgotten it may end the sale again
            _close(folded, event)
    elif isinstance(event, CouponEvent):
        _fold_coupon(folded, event)


def _begin_with(folded: Folded, start: PromotionStarted) -> None:
    folded.base = start
    folded.stock = start.stock
    folded.restocks |= restocks_in_text(start.restocks or "")


def _fold_coupon(folded: Folded, event: CouponEvent) -> None:
    place = (event.customer_id, event.number)
    there = folded.coupons.get(place)
    pays_twice = there is not None and _pays_twice(folded, event, there)
    _note_reference(folded, event)
    if isinstance(event, RefundRecorded):
        folded.second_payments = [p for p in folded.second_payments if not _is_refund_of(event, p)]
    if pays_twice and isinstance(event, RefundRecorded):  # its record is this event
        folded.overruled.add(place)
    elif pays_twice:
        folded.second_payments.append(event)
        folded.disputed.add(place)
    elif there is None or _outweighs(event, there):
        folded.overruled.discard(place)
        if there is not None and _is_money(event) and _is_money(there):
            event = _with_reference(folded, event, there)
        folded.coupons[place] = event
    else:
        folded.overruled.add(place)


def _pays_twice(folded: Folded, event: CouponEvent, there: CouponEvent) -> bool:
    """Whether a store that had gone back took another payment for a coupon that was paid for.

    That late payments have a refund each is no other story.
    """
    noted = folded.references.get((event.customer_id, event.number), ())
    return (
        _is_money(event)
        and _is_money(there)
        and "PAID" in (event.state, there.state)
        and not _is_of_second_payment(event)
        and event.payment_reference is not None
        and event.payment_reference not in noted
    )


def _with_reference(folded: Folded, event: CouponEvent, there: CouponEvent) -> CouponEvent:
    """A payment without a reference is the one whose reference is known."""
    if event.payment_reference is not None or there.payment_reference is None:
        return event
    folded.overruled.add((event.customer_id, event.number))
    return replace(event, payment_reference=there.payment_reference)


def _is_refund_of(refund: RefundRecorded, payment: CouponEvent) -> bool:
    return (refund.customer_id, refund.number, refund.payment_reference) == (
        payment.customer_id,
        payment.number,
        payment.payment_reference,
    )


def add_restock(folded: Folded, event: PromotionRestocked) -> None:
    """Count the units of a restock once, whatever it is told by."""
    key = event.request_key or f"version {event.version}"
    folded.revision = max(event.revision or 0, folded.revision)
    if key not in folded.restocks:
        folded.restocks[key] = event.added
        folded.stock += event.added


def _close(folded: Folded, event: PromotionEnded) -> None:
    folded.closed_as = event.reason
    folded.closed_at = event.at
    folded.closed_version = event.version
    folded.closed_stock = event.stock


def _note_reference(folded: Folded, event: CouponEvent) -> None:
    if event.payment_reference is not None:
        noted = folded.references.setdefault((event.customer_id, event.number), [])
        if event.payment_reference not in noted:
            noted.append(event.payment_reference)


def restocks_in_text(text: str) -> dict[str, int]:
    """Units added by key: "<key>=<added>" of each restock, joined by ";"."""
    pairs = (pair.rpartition("=") for pair in text.split(";") if pair)
    return {key: int(added) for key, _, added in pairs}


def restocks_as_text(restocks: Mapping[str, int]) -> str:
    """The text of `restocks_in_text`."""
    return ";".join(f"{key}={added}" for key, added in restocks.items())


def missing_versions(events: Iterable[AnyEvent]) -> int:
    """How many versions lack between the first and the newest of each generation."""
    newest: dict[int, int] = {}
    seen: dict[int, int] = {}
    for event in events:
        generation, number = divmod(event.version, GENERATION)
        newest[generation] = max(number, newest.get(generation, 0))
        seen[generation] = seen.get(generation, 0) + 1
    return sum(newest[generation] - seen[generation] for generation in newest)


def ranges_of(versions: Iterable[int]) -> str:
    """Versions in rising order as text: "1-7,9"."""
    parts: list[str] = []
    first = last = None
    for version in versions:
        if last is not None and version == last + 1:
            last = version
            continue
        if last is not None:
            parts.append(f"{first}" if first == last else f"{first}-{last}")
        first = last = version
    if last is not None:
        parts.append(f"{first}" if first == last else f"{first}-{last}")
    return ",".join(parts)


def late(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """The events, in order of version, that came after the newest recovery had read the journal."""
    told = list(events)
    newest = next((e for e in reversed(told) if isinstance(e, PromotionRecovered)), None)
    if newest is None or newest.known is None:
        return []
    ranges = [(int(a), int(b or a)) for a, _, b in _pairs(newest.known)]
    found: list[AnyEvent] = []
    position = 0
    for event in told:
        if event.version >= newest.version:
            break
        while position < len(ranges) and ranges[position][1] < event.version:
            position += 1
        if position == len(ranges) or event.version < ranges[position][0]:
            found.append(event)
    return found


def _pairs(known: str) -> Iterator[tuple[str, str, str]]:
    return (text.partition("-") for text in known.split(",") if text)


def fold_in(folded: Folded, witnesses: Iterable[AnyEvent]) -> set[Place]:
    """Fold in events that the journal's story is without; returns the coupons they change.

    These are conflicts (a store that had gone back in time decided other things under the same
    versions) and events that came after a recovery. A confirmed payment or refund always counts,
    so does a restock, once, and so does a cancellation. That a sale sold out does not: whether it
    has is for the units to say.
    """
    changed: set[Place] = set()
    for witness in sorted(witnesses, key=lambda witness: witness.version):
        event: AnyEvent = witness
        if isinstance(witness, CouponEvent):
            event, place, there = _follow(folded, witness)
            noted = folded.references.get(place, ())
            new_money = _is_money(event) and event.payment_reference not in noted
            _note_reference(folded, event)
            if new_money and there is not None and _is_money(there):
                if event.payment_reference is not None:
                    folded.second_payments.append(event)
                folded.disputed.add(place)
            elif there is None or _outweighs(event, there) or new_money:
                folded.coupons[place] = event
                changed.add(place)
            else:
                folded.disputed.add(place)
        elif isinstance(event, PromotionRestocked):
            add_restock(folded, event)
        elif isinstance(event, PromotionStarted):
            if folded.base is None:
                _begin_with(folded, event)
        elif isinstance(event, PromotionCancelled):
            _close(folded, event)
    return changed


def _follow(folded: Folded, event: CouponEvent) -> tuple[CouponEvent, Place, CouponEvent | None]:
    """The event under the number that its coupon has by now, its place, and what is there."""
    place = (event.customer_id, event.number)
    there = folded.coupons.get(place)
    while isinstance(there, CouponRevoked) and there.moved_to is not None:
        moved = (event.customer_id, there.moved_to)
        if moved not in folded.coupons:
            break  # a recovery died on the way: see _finish_moves
        folded.disputed.add(place)
        event = replace(event, number=there.moved_to)
        place, there = moved, folded.coupons[moved]
    if there is not None and _is_another(folded, event, there):
        folded.disputed.add(place)
        place = _place_by_key(folded, event) or (event.customer_id, folded.granted + 1)
        event, there = replace(event, number=place[1]), folded.coupons.get(place)
    return event, place, there


def _is_another(folded: Folded, event: CouponEvent, there: CouponEvent) -> bool:
    """Whether a store that had gone back granted the customer's next coupon under this number."""
    limit = 1 if folded.base is None else folded.base.coupons_per_customer or 1
    keys = (event.request_key, there.request_key)
    return limit > 1 and None not in keys and keys[0] != keys[1]


def _place_by_key(folded: Folded, event: CouponEvent) -> Place | None:
    for place, coupon in folded.coupons.items():
        if place[0] == event.customer_id and coupon.request_key == event.request_key:
            return place
    return None


def _is_money(event: CouponEvent) -> bool:
    return event.state in ("PAID", "REFUND_DUE")


def _is_of_second_payment(event: CouponEvent) -> bool:
    return isinstance(event, RefundRecorded) and event.reason == "ALREADY_PAID"


def _outweighs(event: CouponEvent, there: CouponEvent) -> bool:
    """Money decides within a generation; what a recovery has settled stands above all before.

    The refund of a second payment says nothing of the coupon, which the first one has paid for.
    """

    def weight(coupon: CouponEvent) -> tuple[int, int, int]:
        money = {"PAID": 1, "REFUND_DUE": 2}.get(coupon.state, 0)
        if _is_of_second_payment(coupon):
            money = 0
        return (coupon.version // GENERATION, money, coupon.version)

    return weight(event) > weight(there)


def letter(coupon: CouponEvent) -> str:
    """The coupon's state as the store writes it."""
    if isinstance(coupon, CouponReleased):
        return _RELEASED.get(coupon.reason, "R")
    if isinstance(coupon, RefundRecorded):
        return _REFUND.get(coupon.reason, "D")
    return {"GRABBED": "G", "PAID": "P", "REVOKED": "V"}[coupon.state]


def write_coupon(coupon: CouponEvent, references: Iterable[str] = ()) -> str:
    """The coupon as coupon.lua writes it: parts joined by blanks, `*` for none."""
    moved_to = coupon.moved_to if isinstance(coupon, CouponRevoked) else None
    parts = [
        coupon.number,
        coupon.version,
        coupon.grabbed_at,
        letter(coupon),
        coupon.deadline,
        coupon.paid_at,
        ",".join(_newest_last(references, coupon.payment_reference)) or None,
        # The key of the grab goes with the coupon, so a repeat finds the new number.
        coupon.request_key if moved_to is None else None,
        moved_to,
    ]
    while parts[-1] is None:
        parts.pop()
    return " ".join("*" if part is None else str(part) for part in parts)


def _newest_last(references: Iterable[str], newest: str | None) -> list[str]:
    """The references of a coupon; the last one is what its newest event has."""
    others = [reference for reference in references if reference != newest]
    return others if newest is None else [*others, newest]


def customers(folded: Folded) -> dict[str, str]:
    """Each customer's coupons, as coupon.lua writes them."""
    entries: dict[str, list[CouponEvent]] = {}
    for coupon in folded.coupons.values():
        entries.setdefault(coupon.customer_id, []).append(coupon)
    return {
        customer: ";".join(
            write_coupon(c, folded.references.get((customer, c.number), ()))
            for c in sorted(own, key=lambda c: c.number)
        )
        for customer, own in entries.items()
    }


def holds(folded: Folded) -> dict[str, int]:
    """The open holds: member and deadline, as promotion.lua writes them."""
    return {
        f"{coupon.number} {coupon.customer_id}": coupon.deadline
        for coupon in folded.active
        if coupon.state == "GRABBED" and coupon.deadline is not None
    }
