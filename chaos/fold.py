"""The journal folded by rules of its own: nothing here is imported from the system under test.

Versions of a promotion count 1, 2, 3, ...; a recovery of the store opens a new generation with
`PromotionRecovered`, whose versions count from generation * 10**10 + 1.

Where the store had gone back in time, the journal holds parts of two stories: from the first
version in conflict (or missing) until the recovery, only what each event says of itself can be
checked. A recovery first makes amends: its events all carry the counts of after the last of them.
From there on everything has to be right again.
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

    coupons: the newest event of each coupon; lives: the states it has had, in order. missing:
    versions that never came. doubtful: its events tell two stories. amends: the recovery whose
    amends are being told.
    """

    promotion_id: str
    limit: int = 0
    stock: int = 0
    started: Event | None = None
    ended: Event | None = None
    newest: Event | None = None
    restocks: list[int] = field(default_factory=list)
    coupons: dict[CouponKey, Event] = field(default_factory=dict)
    lives: dict[CouponKey, list[str]] = field(default_factory=dict)
    generations: int = 0
    missing: int = 0
    doubtful: bool = False
    amends: Event | None = None
    held: int = 0
    sold: int = 0
    active: Counter[str] = field(default_factory=Counter)

    @property
    def unsure(self) -> bool:
        """True while an event can't be judged by those before it."""
        return self.doubtful or self.amends is not None

    def had(self, coupon: CouponKey, *states: str) -> bool:
        """True when the coupon has been in one of `states`."""
        return not set(states).isdisjoint(self.lives.get(coupon, ()))


def state_of(event: Event) -> str:
    """What an event of a coupon makes of it."""
    return STATES[event["type"]]


def fold(
    promotion_id: str,
    events: Iterable[Event],
    findings: Findings,
    conflicts: Iterable[Event] = (),
) -> Folded:
    """Fold one promotion's events; whatever is wrong at any version is found."""
    folded = Folded(promotion_id)
    told = list(events)
    for event in told:  # the start may be told late, when it was lost with the store
        folded.limit = max(folded.limit, event.get("couponsPerCustomer", 0))
    taken = sorted(int(event["version"]) for event in conflicts)
    first = {version // GENERATION: version for version in reversed(taken)}
    version = 0
    for event in sorted(told, key=lambda event: int(event["version"])):
        if folded.amends and (event["at"], _counts(event)) != (
            folded.amends["at"], _counts(folded.amends)
        ):  # fmt: skip
            _end_amends(folded, findings)
        _check_version(folded, version, event, findings)
        version = event["version"]
        if version >= first.get(version // GENERATION, version + 1):
            folded.doubtful = True
        if event["type"] in STATES:
            _move(folded, event, findings)
        else:
            _change(folded, event, findings)
        folded.newest = event
        _check_counts(folded, event, findings)
    _end_amends(folded, findings)
    if folded.doubtful:
        findings.add("journal: versions in conflict or missing, and no recovery", promotion_id)
    return folded


def _name(event: Event) -> str:
    return f"{event['promotionId']} version {event['version']}"


def _counts(event: Event) -> tuple[int, int, int, int]:
    stock, available, held, sold = (event[c] for c in ("stock", "available", "held", "sold"))
    return stock, available, held, sold


def _check_version(folded: Folded, before: int, event: Event, findings: Findings) -> None:
    version, type_ = event["version"], event["type"]
    opens = version % GENERATION == 1 and version // GENERATION > before // GENERATION
    base = version // GENERATION * GENERATION if version // GENERATION > before // GENERATION else 0
    gap = version - max(before, base) - 1
    if opens:
        folded.generations += 1
        folded.doubtful = False
        folded.amends = event
        if event.get("lost", 0) != folded.missing:
            findings.add("journal: a recovery that does not tell how many versions are missing",
                         f"{_name(event)}: {event.get('lost')} of {folded.missing}")  # fmt: skip
    elif gap:
        folded.doubtful = True
        folded.missing += gap
    if (version % GENERATION == 1 and version > 1) != (type_ == "PromotionRecovered"):
        findings.add("journal: a generation without its PromotionRecovered", _name(event))
    if type_ == "PromotionStarted" and folded.started and not folded.unsure:
        findings.add("journal: started twice", _name(event))
    if type_ not in ("PromotionStarted", "PromotionRecovered") and not (
        folded.started or folded.unsure
    ):
        findings.add("journal: PromotionStarted is not the first event", _name(event))


def _end_amends(folded: Folded, findings: Findings) -> None:
    """After its amends a recovery's counts are those of its coupons, and nobody has too many."""
    amends, folded.amends = folded.amends, None
    if amends is None:
        return
    if _counts(amends) != _expected(folded):
        told = f"{_counts(amends)} instead of {_expected(folded)}, {_name(amends)}"
        findings.add("journal: a recovery whose counts its coupons do not have", told)
    for customer, active in folded.active.items():
        if active > folded.limit:
            findings.add("journal: a customer over the limit after a recovery",
                         f"{customer}, {_name(amends)}")  # fmt: skip
    owners = Counter(n for (_, n), e in folded.coupons.items() if state_of(e) in ACTIVE)
    for number in sorted(n for n, times in owners.items() if times > 1):
        findings.add("journal: a number of two customers after a recovery",
                     f"{number}, {_name(amends)}")  # fmt: skip


def _expected(folded: Folded) -> tuple[int, int, int, int]:
    free = folded.stock - folded.held - folded.sold
    return folded.stock, free, folded.held, folded.sold


def _change(folded: Folded, event: Event, findings: Findings) -> None:
    """Fold an event of the promotion itself."""
    type_ = event["type"]
    if type_ == "PromotionStarted":
        if folded.started is None:
            folded.stock, folded.started = event["stock"], event
        if event["at"] < event["opensAt"]:
            findings.add("journal: started before its time", _name(event))
    elif type_ == "PromotionRestocked":
        _check_open(folded, "restocked", event, findings)
        folded.stock += event["added"]
        folded.restocks.append(event["added"])
    elif type_ in ENDS:
        _check_open(folded, "ended", event, findings)
        folded.ended = event
    elif type_ == "PromotionRecovered" and folded.started is None:
        folded.stock = event["stock"]  # its start was lost with the store
    elif type_ not in ("PromotionRecovered", "PromotionAudited"):
        findings.add("journal: a type nobody knows", f"{type_} of {_name(event)}")


def _check_open(folded: Folded, what: str, event: Event, findings: Findings) -> None:
    if folded.ended and not folded.unsure:
        findings.add(f"journal: {what} after the end", _name(event))


def _move(folded: Folded, event: Event, findings: Findings) -> None:
    coupon, state = (event["customerId"], event["number"]), state_of(event)
    before = folded.coupons.get(coupon)
    was = state_of(before) if before else None
    if (was, state) not in _MOVES and not folded.unsure:
        findings.add("journal: a coupon went the wrong way", f"{was} to {state}, {_name(event)}")
    if before:
        _count(folded, before, -1)
    folded.coupons[coupon] = event
    folded.lives.setdefault(coupon, []).append(state)
    _count(folded, event, 1)
    if folded.active[coupon[0]] > folded.limit and not folded.unsure:
        findings.add("journal: a customer over the limit", f"{coupon[0]}, {_name(event)}")
    if state == "GRABBED" and not folded.unsure:
        _check_grab(folded, event, findings)
    if event.get("reason") == "EXPIRED" and event["at"] < event["deadline"]:
        findings.add("journal: released before its deadline", _name(event))


def _check_grab(folded: Folded, event: Event, findings: Findings) -> None:
    _check_open(folded, "grabbed", event, findings)
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
    stock, available, held, sold = told = _counts(event)
    if stock != available + held + sold or min(told) < 0:
        findings.add("journal: counts (stock, available, held, sold) that can't be",
                     f"{told}, {_name(event)}")  # fmt: skip
    if not folded.unsure and told != _expected(folded):
        findings.add("journal: counts (stock, available, held, sold) that its coupons do not have",
                     f"{told} instead of {_expected(folded)}, {_name(event)}")  # fmt: skip
