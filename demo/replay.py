"""The journal of a sale with payment, replayed: each event has to follow from those before it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COUNTS = ("available", "held", "sold")
# (what the coupon was, event) -> what the event adds to available, held and sold. A coupon that
# has expired can still be paid while a unit is free; one that was given back can't.
MOVES = {
    ("", "CouponGrabbed"): (-1, 1, 0),
    ("GRABBED", "CouponPaid"): (0, -1, 1),
    ("GRABBED", "CouponReleased"): (1, -1, 0),
    ("EXPIRED", "CouponPaid"): (-1, 0, 1),
    ("EXPIRED", "RefundRecorded"): (0, 0, 0),
    ("GIVEN_BACK", "RefundRecorded"): (0, 0, 0),
}
BECOMES = {"CouponGrabbed": "GRABBED", "CouponPaid": "PAID", "RefundRecorded": "REFUND_DUE"}
ACTIVE = frozenset({"GRABBED", "PAID"})
PROMOTION = frozenset({"PromotionStarted", "PromotionFinished"})
# The state of a row, where the replay knows more than the table tells.
SHOWN = {"EXPIRED": "RELEASED", "GIVEN_BACK": "RELEASED"}


@dataclass(slots=True)
class Replay:
    """What the journal says became of every coupon, and what is wrong with it.

    states, owners: by coupon id; a released coupon's state is the reason. most_active: units that
    were held or sold at the same time, at the most. late: payments that were honoured after the
    coupon had expired. The lists name coupons, customers and versions that break a rule.
    """

    states: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    most_active: int = 0
    late: int = 0
    impossible: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    greedy: dict[str, int] = field(default_factory=dict)

    def shown(self) -> dict[str, str]:
        """The state that each coupon's row must have."""
        return {coupon: SHOWN.get(state, state) for coupon, state in self.states.items()}


def replay(events: Sequence[Mapping[str, Any]], limit: int = 1) -> Replay:
    """Fold events in order of version; nobody may have more than `limit` coupons at a time."""
    found = Replay()
    active: defaultdict[str, set[str]] = defaultdict(set)
    units = 0
    counts: tuple[int, ...] | None = None
    for event in events:
        change = (0, 0, 0)
        if event["type"] not in PROMOTION:
            change = _settle(found, event)
            coupon, owner = _coupon(event), event.get("customerId", "")
            units -= len(active[owner])
            if found.states[coupon] in ACTIVE:
                active[owner].add(coupon)
            else:
                active[owner].discard(coupon)
            units += len(active[owner])
            found.most_active = max(found.most_active, units)
            if len(active[owner]) > limit:
                found.greedy[owner] = max(found.greedy.get(owner, 0), len(active[owner]) - limit)
        before, counts = counts, tuple(event[name] for name in COUNTS)
        before = (event["stock"], 0, 0) if before is None else before
        if counts != tuple(map(sum, zip(before, change, strict=True))):
            found.miscounted.append(str(event["version"]))
    return found


def _settle(found: Replay, event: Mapping[str, Any]) -> tuple[int, int, int]:
    """Move one coupon; returns what that adds to the counts."""
    coupon, kind = _coupon(event), str(event["type"])
    was = found.states.get(coupon, "")
    becomes = event.get("reason", "") if kind == "CouponReleased" else BECOMES.get(kind, kind)
    if (was, kind) not in MOVES:
        found.impossible.append(f"{event['version']} {kind} of {was or 'nothing'}")
    if found.owners.setdefault(coupon, event.get("customerId", "")) != event.get("customerId", ""):
        found.strangers.append(coupon)
    if becomes == "EXPIRED" and event["at"] < event["deadline"]:
        found.early.append(coupon)
    found.late += (was, kind) == ("EXPIRED", "CouponPaid")
    found.states[coupon] = becomes
    return MOVES.get((was, kind), (0, 0, 0))


def _coupon(event: Mapping[str, Any]) -> str:
    return f"{event['promotionId']}-{event.get('number', 0)}"


def twice(events: Sequence[Mapping[str, Any]], kind: str) -> dict[str, int]:
    """Coupons with more than one event of a kind, and how many beyond the first."""
    counted = Counter(_coupon(event) for event in events if event["type"] == kind)
    return {coupon: n - 1 for coupon, n in counted.items() if n > 1}
