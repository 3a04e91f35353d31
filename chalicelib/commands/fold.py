"""From a promotion's events back to the state of its store: a plain fold, no store involved.

What the scripts keep in the hash, the customers and the holds is all in the events. Events that
conflict with the journal are folded along: the customers in them were told yes too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from chalicelib.events import (
    GENERATION,
    AnyEvent,
    CouponEvent,
    CouponReleased,
    Event,
    PromotionCancelled,
    PromotionEnded,
    PromotionRestocked,
    PromotionStarted,
    RefundRecorded,
)

# The letters of coupon.lua, by what the newest event of a coupon says.
_RELEASED = {"GIVEN_BACK": "B"}
_REFUND = {"HOLD_EXPIRED": "D", "COUPON_RELEASED": "E", "CANCELLED": "F", "REVOKED": "W"}


@dataclass(slots=True)
class Folded:
    """A promotion as its events tell it: what counts of each coupon, and how it stands.

    overruled: coupons whose newest event does not count, because money had moved before.
    """

    started: PromotionStarted | None = None
    ended: PromotionEnded | None = None
    stock: int = 0
    newest: int = 0
    count: int = 0
    restocks: list[PromotionRestocked] = field(default_factory=list)
    coupons: dict[tuple[str, int], CouponEvent] = field(default_factory=dict)
    overruled: set[tuple[str, int]] = field(default_factory=set)

    @property
    def generation(self) -> int:
        """Which generation of versions the newest event is of."""
        return self.newest // GENERATION

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


def fold(events: Iterable[AnyEvent]) -> Folded:
    """Fold `events`, in order of version."""
    folded = Folded()
    for event in events:
        folded.newest = max(folded.newest, event.version)
        folded.count += 1
        if isinstance(event, Event):
            _fold_one(folded, event)
    return folded


def _fold_one(folded: Folded, event: Event) -> None:
    if isinstance(event, PromotionStarted):
        if folded.started is None:
            folded.started = event
            folded.stock += event.stock
    elif isinstance(event, PromotionRestocked):
        if all(event.request_key != done.request_key for done in folded.restocks):
            folded.restocks.append(event)
            folded.stock += event.added
    elif isinstance(event, PromotionEnded):
        folded.ended = event
    elif isinstance(event, CouponEvent):
        place = (event.customer_id, event.number)
        there = folded.coupons.get(place)
        if there is None or _outweighs(event, there):
            folded.coupons[place] = event
            folded.overruled.discard(place)
        else:
            folded.overruled.add(place)


def missing_versions(events: Iterable[AnyEvent]) -> int:
    """How many versions lack between the first and the newest of each generation."""
    newest: dict[int, int] = {}
    seen: dict[int, int] = {}
    for event in events:
        generation, number = divmod(event.version, GENERATION)
        newest[generation] = max(number, newest.get(generation, 0))
        seen[generation] = seen.get(generation, 0) + 1
    return sum(newest[generation] - seen[generation] for generation in newest)


def fold_in(folded: Folded, conflicts: Iterable[AnyEvent]) -> set[tuple[str, int]]:
    """Fold conflicting events into what the journal says; returns the coupons they change.

    A store that had gone back in time told two stories under the same versions. Of a coupon
    that is in both, money decides: a payment or a refund that was told stays told.
    """
    changed: set[tuple[str, int]] = set()
    for event in sorted(conflicts, key=lambda event: event.version):
        if isinstance(event, CouponEvent):
            place = (event.customer_id, event.number)
            there = folded.coupons.get(place)
            if there is None or _outweighs(event, there):
                folded.coupons[place] = event
                changed.add(place)
        elif isinstance(event, PromotionEnded):
            folded.ended = folded.ended or event
        elif isinstance(event, PromotionRestocked | PromotionStarted):
            _fold_one(folded, event)
    return changed


def _outweighs(event: CouponEvent, there: CouponEvent) -> bool:
    """Money decides within a generation; what a recovery has settled stands above all before."""

    def weight(told: CouponEvent) -> tuple[int, int, int]:
        money = {"PAID": 1, "REFUND_DUE": 2}.get(told.state, 0)
        return (told.version // GENERATION, money, told.version)

    return weight(event) > weight(there)


def letter(coupon: CouponEvent) -> str:
    """The coupon's state as the store writes it."""
    if isinstance(coupon, CouponReleased):
        return _RELEASED.get(coupon.reason, "R")
    if isinstance(coupon, RefundRecorded):
        return _REFUND[coupon.reason]
    return {"GRABBED": "G", "PAID": "P", "REVOKED": "V"}[coupon.state]


def write_coupon(coupon: CouponEvent) -> str:
    """The coupon as coupon.lua writes it: parts joined by blanks, `*` for none."""
    parts = [
        coupon.number,
        coupon.version,
        coupon.grabbed_at,
        letter(coupon),
        coupon.deadline,
        coupon.paid_at,
        coupon.payment_reference,
        coupon.request_key,
    ]
    while parts[-1] is None:
        parts.pop()
    return " ".join("*" if part is None else str(part) for part in parts)


def customers(folded: Folded) -> dict[str, str]:
    """Who has which coupons, as coupon.lua writes it."""
    entries: dict[str, list[CouponEvent]] = {}
    for coupon in folded.coupons.values():
        entries.setdefault(coupon.customer_id, []).append(coupon)
    return {
        customer: ";".join(write_coupon(c) for c in sorted(own, key=lambda c: c.number))
        for customer, own in entries.items()
    }


def holds(folded: Folded) -> dict[str, int]:
    """The open holds: member and deadline, as promotion.lua writes them."""
    return {
        f"{coupon.number} {coupon.customer_id}": coupon.deadline
        for coupon in folded.active
        if coupon.state == "GRABBED" and coupon.deadline is not None
    }


def state_of(folded: Folded) -> tuple[str, str | None]:
    """(state, closed_as) of the promotion."""
    if folded.ended is None:
        return ("ON_SALE" if folded.started else "SCHEDULED"), None
    cancelled = isinstance(folded.ended, PromotionCancelled)
    return ("CANCELLED" if cancelled else "FINISHED"), folded.ended.reason
