"""The journal's rows, folded by rules of its own: nothing here knows the program."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from simulate.evidence import CouponKey, Row

GENERATION = 10**10
STATES: Mapping[str, str] = {
    "CouponGrabbed": "GRABBED",
    "CouponExtended": "GRABBED",
    "CouponPaid": "PAID",
    "CouponReleased": "RELEASED",
    "RefundRecorded": "REFUND_DUE",
    "CouponRevoked": "REVOKED",
}
ENDS: Mapping[str, str] = {"PromotionFinished": "FINISHED", "PromotionCancelled": "CANCELLED"}
ACTIVE = ("GRABBED", "PAID")


@dataclass(slots=True)
class Folded:
    """The promotion after some of its events.

    coupons: the newest event of each coupon. state: SCHEDULED, ON_SALE, FINISHED or CANCELLED.
    """

    coupons: dict[CouponKey, Row] = field(default_factory=dict)
    newest: Row | None = None
    started: Row | None = None
    state: str = "SCHEDULED"
    limit: int = 0

    @property
    def active(self) -> list[Row]:
        """The coupons that have a unit."""
        return [event for event in self.coupons.values() if state_of(event) in ACTIVE]

    @property
    def sold(self) -> int:
        """How many units are sold: paid for, or grabbed for good."""
        return sum(state_of(e) == "PAID" or e.get("deadline") is None for e in self.active)

    @property
    def held(self) -> int:
        """How many units wait for payment."""
        return len(self.active) - self.sold

    def counts(self, stock: int) -> tuple[int, int, int, int]:
        """(stock, available, held, sold), as its coupons have it."""
        return stock, stock - self.held - self.sold, self.held, self.sold

    def add(self, event: Row) -> None:
        """Fold the next event in; events come in order of version."""
        self.newest = event
        type_ = event["type"]
        if type_ in STATES and not is_of_second_payment(event):
            self.coupons[event["customerId"], event["number"]] = event
        elif type_ == "PromotionStarted":
            self.started = event
            self.state = "ON_SALE"
            self.limit = event["couponsPerCustomer"]
        elif type_ in ENDS:
            self.state = ENDS[type_]
        elif type_ == "PromotionReopened":
            self.state = "ON_SALE"
        elif type_ == "PromotionRecovered":
            # It may carry the whole promotion.
            self.state = event.get("state", self.state)
            self.limit = event.get("couponsPerCustomer", self.limit)


def fold(events: Iterable[Row]) -> Folded:
    """Fold events, in order of version: of each coupon the newest one counts."""
    folded = Folded()
    for event in events:
        folded.add(event)
    return folded


def is_of_second_payment(event: Row) -> bool:
    """True of a refund that changes nothing of its coupon: another payment has paid for that."""
    return event.get("reason") == "ALREADY_PAID"


def state_of(event: Row) -> str:
    """What an event of a coupon makes of it."""
    return STATES[event["type"]]


def counts_of(event: Row) -> tuple[int, int, int, int]:
    """(stock, available, held, sold), as the event has it."""
    return event["stock"], event["available"], event["held"], event["sold"]


def same_moment(event: Row, other: Row) -> bool:
    """True of the events of one recovery: all carry the counts after the last of them."""
    return event["at"] == other["at"] and counts_of(event) == counts_of(other)


def name(event: Row) -> str:
    """An event, for a person."""
    version = int(event["version"])
    return f"{event['type']} {version // GENERATION}/{version % GENERATION}"
