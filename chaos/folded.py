"""A promotion as its events tell it, in the making."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Event = Mapping[str, Any]
# Whose, and which number: after a lost write the same number may have been told to two customers.
CouponKey = tuple[str, int]

STATES = {
    "CouponGrabbed": "GRABBED",
    "CouponExtended": "GRABBED",
    "CouponPaid": "PAID",
    "CouponReleased": "RELEASED",
    "RefundRecorded": "REFUND_DUE",
    "CouponRevoked": "REVOKED",
}
ENDS = {"PromotionFinished": "FINISHED", "PromotionCancelled": "CANCELLED"}
ACTIVE = ("GRABBED", "PAID")


@dataclass(slots=True)
class Folded:
    """One promotion after its newest event.

    state: SCHEDULED, ON_SALE, FINISHED or CANCELLED. first_stock: without restocks. offer: the
    newest event that has all of it. ended: the newest event that ended it. cancelled_at: of the
    first cancellation in any story. sold_out_at: when there was no unit left first. coupons: the
    newest event of each coupon; lives: all of its events. generations: how many recoveries there
    were. missing: versions that never came. doubtful: its events tell two stories. recovery: the
    one whose events are being told. restored: coupons that a sale may know again after it had
    forgotten them.
    """

    promotion_id: str
    state: str = "SCHEDULED"
    limit: int = 0
    first_stock: int | None = None
    stock: int = 0
    offer: Event | None = None
    ended: Event | None = None
    cancelled_at: int | None = None
    sold_out_at: int | None = None
    newest: Event | None = None
    restocks: dict[str, int] = field(default_factory=dict)
    coupons: dict[CouponKey, Event] = field(default_factory=dict)
    lives: dict[CouponKey, list[Event]] = field(default_factory=dict)
    restored: set[CouponKey] = field(default_factory=set)
    generations: int = 0
    missing: int = 0
    doubtful: bool = False
    recovery: Event | None = None
    held: int = 0
    sold: int = 0
    active: Counter[str] = field(default_factory=Counter)

    @property
    def unsure(self) -> bool:
        """True while an event can't be judged by those before it."""
        return self.doubtful or self.recovery is not None

    def chain(self, coupon: CouponKey) -> list[CouponKey]:
        """The coupon under all numbers that it has had since."""
        chain = [coupon]
        while (moved := self._moved_to(chain[-1])) and moved not in chain:
            chain.append(moved)
        return chain

    def life(self, coupon: CouponKey) -> list[Event]:
        """All events of a coupon, under this number and those it has had since."""
        return [event for member in self.chain(coupon) for event in self.lives.get(member, ())]

    def record(self, coupon: CouponKey) -> Event | None:
        """The newest event of a coupon, under the number that it has by now."""
        return self.coupons.get(self.chain(coupon)[-1])

    def _moved_to(self, coupon: CouponKey) -> CouponKey | None:
        event = self.coupons.get(coupon, {})
        return (coupon[0], event["movedTo"]) if "movedTo" in event else None


def state_of(event: Event) -> str:
    """What an event of a coupon makes of it."""
    return STATES[event["type"]]


def key_of(event: Event) -> CouponKey:
    """Whose coupon an event is about, and which."""
    return event["customerId"], event["number"]
