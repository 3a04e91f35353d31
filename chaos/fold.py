"""The journal folded by rules of its own: nothing here is imported from the system under test.

Versions of a promotion count 1, 2, 3, ...; a recovery of the store opens a new generation, whose
versions count from generation * 10**10 + 1. It writes its decisions about coupons first, all with
the counts of after the last of them, and `PromotionRecovered` last, which says what it has read.

Where the store had gone back in time, the journal holds parts of two stories: from the first
version in conflict (or missing) until the recovery, only what each event says of itself can be
checked. The recovery folds what it has read, and from its last event on all has to be right again.
What came too late for it (see recoveries.py) has to have a record by what the sale decides later.
"""

from collections import Counter
from collections.abc import Iterable

from chaos.findings import Findings
from chaos.folded import ACTIVE, ENDS, STATES, Event, Folded, key_of, state_of
from chaos.recoveries import (
    GENERATION,
    Known,
    check_part,
    check_recovery,
    counts,
    name,
    restocks_of,
)
from chaos.steps import check_open, count, move

_BEFORE_THE_START = ("PromotionStarted", "PromotionCancelled", "PromotionAudited")


def fold(
    promotion_id: str,
    events: Iterable[Event],
    findings: Findings,
    conflicts: Iterable[Event] = (),
) -> Folded:
    """Fold one promotion's events; whatever is wrong at any version is found."""
    folded = Folded(promotion_id)
    told = sorted(events, key=lambda event: int(event["version"]))
    conflicts = list(conflicts)
    # The start may be told late, when it was lost with the store.
    folded.limit = max((event.get("couponsPerCustomer", 0) for event in told), default=0)
    cancelled = [e["at"] for e in [*told, *conflicts] if e["type"] == "PromotionCancelled"]
    folded.cancelled_at = min(cancelled, default=None)
    folded.sold_out_at = min((e["at"] for e in told if e["available"] == 0), default=None)
    folded.restored |= {key_of(event) for event in conflicts if "customerId" in event}
    taken = sorted(int(event["version"]) for event in conflicts)
    first = {version // GENERATION: version for version in reversed(taken)}
    recoveries = {
        e["version"] // GENERATION: e for e in reversed(told) if e["type"] == "PromotionRecovered"
    }
    before = 0
    for event in told:
        version = event["version"]
        generation = version // GENERATION
        if generation > before // GENERATION:
            _begin_generation(folded, event, recoveries.get(generation), told, findings)
        _check_version(folded, before, event, findings)
        before = version
        if version >= first.get(generation, version + 1) and folded.recovery is None:
            folded.doubtful = True
        if event["type"] in STATES:
            move(folded, event, findings)
        else:
            _change(folded, event, findings)
        folded.newest = event
        _check_counts(folded, event, findings)
    if recoveries:
        _check_late(folded, told, recoveries[max(recoveries)], findings)
    if folded.doubtful:
        findings.add("journal: versions in conflict or missing, and no recovery", promotion_id)
    _check_ends(folded, findings)
    return folded


def _begin_generation(
    folded: Folded,
    event: Event,
    recovery: Event | None,
    told: list[Event],
    findings: Findings,
) -> None:
    """Go back to what the recovery has read: that, and no more, is what it decides about."""
    if recovery is None:
        findings.add("journal: a generation without its PromotionRecovered", name(event))
        folded.doubtful = True
        return
    base = event["version"] // GENERATION * GENERATION
    known = Known(recovery)
    read = [e for e in told if e["version"] < base and e["version"] in known]
    check_recovery(recovery, read, [e["version"] for e in told], findings)
    late = [e for e in told if e["version"] < base and e["version"] not in known]
    folded.restored |= {key_of(e) for e in late if "customerId" in e}
    folded.recovery, folded.doubtful = recovery, False
    folded.generations += 1
    folded.coupons = {key_of(e): e for e in read if "customerId" in e}
    folded.held, folded.sold, folded.active = 0, 0, Counter()
    for coupon in folded.coupons.values():
        count(folded, coupon, 1)


def _check_version(folded: Folded, before: int, event: Event, findings: Findings) -> None:
    version, type_ = event["version"], event["type"]
    base = version // GENERATION * GENERATION
    gap = version - max(before, base) - 1
    if gap and folded.recovery is not None:
        findings.add("journal: a version of a recovery is missing", name(event))
    elif gap:
        folded.doubtful = True
        folded.missing += gap
    if folded.recovery not in (None, event):
        check_part(event, folded.recovery, findings)
    if folded.unsure:
        return
    if type_ == "PromotionStarted" and folded.state != "SCHEDULED":
        findings.add("journal: started twice", name(event))
    if type_ not in _BEFORE_THE_START and folded.state == "SCHEDULED":
        findings.add("journal: PromotionStarted is not the first event", name(event))


def _expected(folded: Folded) -> tuple[int, int, int, int]:
    free = folded.stock - folded.held - folded.sold
    return folded.stock, free, folded.held, folded.sold


def _change(folded: Folded, event: Event, findings: Findings) -> None:
    """Fold an event of the promotion itself."""
    type_ = event["type"]
    if type_ == "PromotionStarted":
        folded.state, folded.offer = "ON_SALE", event
        _check_first_stock(folded, event["stock"] - sum(folded.restocks.values()), event, findings)
        folded.stock = event["stock"]
        if event["at"] < event["opensAt"]:
            findings.add("journal: started before its time", name(event))
    elif type_ == "PromotionRestocked":
        check_open(folded, "restocked", event, findings)
        key = event.get("requestKey", name(event))
        if key in folded.restocks and not folded.unsure:
            findings.add("journal: restocked twice for one request", f"{key}, {name(event)}")
        folded.stock += event["added"]
        folded.restocks[key] = event["added"]
    elif type_ in ENDS:
        check_open(folded, "ended", event, findings)
        folded.state, folded.ended = ENDS[type_], event
    elif type_ == "PromotionRecovered":
        _end_recovery(folded, event, findings)
    elif type_ != "PromotionAudited":
        findings.add("journal: a type nobody knows", f"{type_} of {name(event)}")


def _end_recovery(folded: Folded, event: Event, findings: Findings) -> None:
    """Its counts are those of its coupons, nobody has too many, and no number has two owners."""
    if folded.recovery is not event:
        findings.add("journal: a PromotionRecovered that ends no recovery", name(event))
    folded.recovery, folded.doubtful = None, False
    folded.state = event.get("state", folded.state)
    folded.offer = event if "opensAt" in event else folded.offer
    folded.ended = event if "closedAs" in event else None
    folded.restocks = restocks_of(event)
    folded.stock = event["stock"]
    _check_first_stock(folded, event["stock"] - sum(folded.restocks.values()), event, findings)
    if counts(event) != _expected(folded):
        findings.add("journal: a recovery whose counts its coupons do not have",
                     f"{counts(event)} instead of {_expected(folded)}, {name(event)}")  # fmt: skip
    if event.get("granted", 0) < max((number for _, number in folded.coupons), default=0):
        findings.add("journal: a recovery that grants a number again", name(event))
    for customer, active in folded.active.items():
        if active > folded.limit:
            findings.add("journal: a customer over the limit after a recovery",
                         f"{customer}, {name(event)}")  # fmt: skip
    owners = Counter(n for (_, n), e in folded.coupons.items() if state_of(e) in ACTIVE)
    for number in sorted(n for n, times in owners.items() if times > 1):
        findings.add("journal: a number of two customers after a recovery",
                     f"{number}, {name(event)}")  # fmt: skip


def _check_first_stock(folded: Folded, stock: int, event: Event, findings: Findings) -> None:
    """What a promotion began with never changes: all the rest is restocks."""
    if folded.first_stock is None:
        folded.first_stock = stock
    elif folded.first_stock != stock:
        findings.add("journal: a stock that is not the first one and its restocks",
                     f"{stock} instead of {folded.first_stock}, {name(event)}")  # fmt: skip


def _check_counts(folded: Folded, event: Event, findings: Findings) -> None:
    stock, available, held, sold = told = counts(event)
    if stock != available + held + sold or min(told) < 0:
        findings.add("journal: counts (stock, available, held, sold) that can't be",
                     f"{told}, {name(event)}")  # fmt: skip
    if not folded.unsure and event["type"] != "PromotionRecovered" and told != _expected(folded):
        findings.add("journal: counts (stock, available, held, sold) that its coupons do not have",
                     f"{told} instead of {_expected(folded)}, {name(event)}")  # fmt: skip


def _check_late(folded: Folded, told: Iterable[Event], recovery: Event, findings: Findings) -> None:
    """What came too late for the newest recovery has its record by what was decided since."""
    known = Known(recovery)
    for event in told:
        if event["version"] >= recovery["version"]:
            return
        if event["version"] in known:
            continue
        left = False
        if "customerId" in event:
            there = folded.coupons.get(key_of(event))
            left = there is None or there["version"] < event["version"]
            if left:
                folded.coupons[key_of(event)] = event
        elif event["type"] == "PromotionRestocked":
            left = event.get("requestKey") not in folded.restocks
        elif event["type"] == "PromotionCancelled":
            left = folded.state != "CANCELLED"
        if left:
            findings.add("journal: an event that came late and does not count",
                         f"{event['type']}, {name(event)}")  # fmt: skip


def _check_ends(folded: Folded, findings: Findings) -> None:
    """In the end each coupon has an end: the number it moved to is there, and no hold is open."""
    for coupon, event in folded.coupons.items():
        where = f"{coupon[1]} of {coupon[0]}, {name(event)}"
        if "movedTo" in event and (coupon[0], event["movedTo"]) not in folded.coupons:
            findings.add("journal: a coupon moved to a number that is not there", where)
        if folded.ended and state_of(event) == "GRABBED" and "deadline" in event:
            findings.add("journal: a coupon is held for good", where)
