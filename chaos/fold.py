"""The journal folded by rules of its own: nothing here is imported from the system under test.

Versions of a promotion count 1, 2, 3, ...; a recovery of the store opens a new generation with
`PromotionRecovered`, whose versions count from generation * 10**10 + 1.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos.findings import Findings

Event = Mapping[str, Any]
# Whose, and which number: after a lost write the same number may have been told to two customers.
CouponKey = tuple[str, int]

GENERATION = 10**10
STATES = {
    "CouponGrabbed": "GRABBED",
    "CouponPaid": "PAID",
    "CouponReleased": "RELEASED",
    "RefundRecorded": "REFUND_DUE",
    "CouponRevoked": "REVOKED",
}
ENDS = ("PromotionFinished", "PromotionCancelled")
ACTIVE = ("GRABBED", "PAID")
# What may become of a coupon; None is one that the journal did not know before.
_MOVES = {
    (None, "GRABBED"),
    ("GRABBED", "PAID"),
    ("GRABBED", "RELEASED"),
    ("RELEASED", "PAID"),
    ("RELEASED", "REFUND_DUE"),
    (None, "REVOKED"),
    ("GRABBED", "REVOKED"),
    ("PAID", "REVOKED"),
    ("RELEASED", "REVOKED"),
    ("REFUND_DUE", "REVOKED"),
    ("REVOKED", "REFUND_DUE"),
}


@dataclass(slots=True)
class Folded:
    """One promotion after its newest event.

    coupons: the newest event of each coupon; lives: the states it has had, in order.
    """

    promotion_id: str
    stock: int = 0
    started: Event | None = None
    ended: Event | None = None
    newest: Event | None = None
    restocks: list[int] = field(default_factory=list)
    coupons: dict[CouponKey, Event] = field(default_factory=dict)
    lives: dict[CouponKey, list[str]] = field(default_factory=dict)
    generations: int = 0
    held: int = 0
    sold: int = 0
    active: Counter[str] = field(default_factory=Counter)

    def had(self, coupon: CouponKey, *states: str) -> bool:
        """True when the coupon has been in one of `states`."""
        return not set(states).isdisjoint(self.lives.get(coupon, ()))


def state_of(event: Event) -> str:
    """What an event of a coupon makes of it."""
    return STATES[event["type"]]


def fold(promotion_id: str, events: Iterable[Event], findings: Findings) -> Folded:
    """Fold one promotion's events; whatever is wrong at any version is found."""
    folded = Folded(promotion_id)
    version = 0
    for event in sorted(events, key=lambda event: int(event["version"])):
        _check_version(folded, version, event, findings)
        version = event["version"]
        if event["type"] in STATES:
            _move(folded, event, findings)
        else:
            _change(folded, event, findings)
        folded.newest = event
        _check_counts(folded, event, findings)
    return folded


def _name(event: Event) -> str:
    return f"{event['promotionId']} version {event['version']}"


def _check_version(folded: Folded, before: int, event: Event, findings: Findings) -> None:
    version, type_ = event["version"], event["type"]
    opens = version % GENERATION == 1 and version // GENERATION > before // GENERATION
    if opens:
        folded.generations += 1
    if not opens and version != before + 1:
        findings.add("journal: a gap before a version", f"{_name(event)} after {before}")
    if opens != (type_ == "PromotionRecovered"):
        findings.add("journal: a generation without its PromotionRecovered", _name(event))
    if (before == 0) != (type_ == "PromotionStarted"):
        findings.add("journal: PromotionStarted is not the first event, once", _name(event))


def _change(folded: Folded, event: Event, findings: Findings) -> None:
    type_ = event["type"]
    if type_ == "PromotionStarted":
        folded.started = event
        folded.stock = event["stock"]
        if event["at"] < event["opensAt"]:
            findings.add("journal: started before its time", _name(event))
    elif type_ == "PromotionRestocked":
        folded.stock += event["added"]
        folded.restocks.append(event["added"])
        if folded.ended:
            findings.add("journal: restocked after its end", _name(event))
    elif type_ in ENDS:
        if folded.ended:
            findings.add("journal: ended twice", _name(event))
        folded.ended = event
    elif type_ != "PromotionRecovered":
        findings.add("journal: a type nobody knows", f"{type_} of {_name(event)}")


def _move(folded: Folded, event: Event, findings: Findings) -> None:
    coupon, state = (event["customerId"], event["number"]), state_of(event)
    before = folded.coupons.get(coupon)
    was = state_of(before) if before else None
    if (was, state) not in _MOVES:
        findings.add("journal: a coupon went the wrong way", f"{was} to {state}, {_name(event)}")
    if before:
        _count(folded, before, -1)
    folded.coupons[coupon] = event
    folded.lives.setdefault(coupon, []).append(state)
    _count(folded, event, 1)
    limit = folded.started["couponsPerCustomer"] if folded.started else 0
    if folded.active[coupon[0]] > limit:
        findings.add("journal: a customer over the limit", f"{coupon[0]}, {_name(event)}")
    if state == "GRABBED":
        _check_grab(folded, event, findings)
    if event.get("reason") == "EXPIRED" and event["at"] < event["deadline"]:
        findings.add("journal: released before its deadline", _name(event))


def _check_grab(folded: Folded, event: Event, findings: Findings) -> None:
    if folded.ended:
        findings.add("journal: grabbed after the end", _name(event))
    started = folded.started
    if started and not started["opensAt"] <= event["grabbedAt"] < started["closesAt"]:
        findings.add("journal: grabbed outside of the window", _name(event))
    if any(key[1] == event["number"] and key[0] != event["customerId"] and state_of(e) != "REVOKED"
           for key, e in folded.coupons.items()):  # fmt: skip
        findings.add("journal: a number was granted twice", _name(event))


def _count(folded: Folded, event: Event, by: int) -> None:
    """Count a coupon in, or out, as its event has it."""
    state = state_of(event)
    if state in ACTIVE:
        folded.active[event["customerId"]] += by
    if state == "PAID" or (state == "GRABBED" and "deadline" not in event):
        folded.sold += by
    elif state == "GRABBED":
        folded.held += by


def _check_counts(folded: Folded, event: Event, findings: Findings) -> None:
    available = folded.stock - folded.held - folded.sold
    expected = (folded.stock, available, folded.held, folded.sold)
    told = tuple(event[count] for count in ("stock", "available", "held", "sold"))
    if told != expected:
        findings.add("journal: counts (stock, available, held, sold) that its coupons do not have",
                     f"{told} instead of {expected}, {_name(event)}")  # fmt: skip
    if min(available, told[1]) < 0:
        findings.add("journal: more sold than there is", _name(event))
