"""What has to hold in the journal: the invariant, and the order of things."""

from collections import Counter
from collections.abc import Callable, Iterator

from simulate.case import Case
from simulate.evidence import Row
from simulate.fold import ENDS, GENERATION, Folded, counts_of, name, state_of

# What may become of a coupon while the store forgets nothing; None is one that is not there yet.
_MOVES = {
    (None, "GRABBED"),
    ("GRABBED", "GRABBED"),
    ("GRABBED", "PAID"),
    ("GRABBED", "RELEASED"),
    ("GRABBED", "REFUND_DUE"),
    ("RELEASED", "PAID"),
    ("RELEASED", "REFUND_DUE"),
    ("PAID", "REFUND_DUE"),
    ("PAID", "RELEASED"),
    ("REFUND_DUE", "REFUND_DUE"),
}


def _counts_add_up(case: Case) -> Iterator[str]:
    """In every event: stock = available + held + sold, and none of them is negative."""
    for event in case.evidence.journal:
        stock, available, held, sold = counts = counts_of(event)
        if stock != available + held + sold or min(counts) < 0:
            yield f"{counts} in {name(event)}"


def _final_counts(case: Case) -> Iterator[str]:
    """The newest event's counts are those of the coupons."""
    newest = case.folded.newest
    if newest is None:
        return
    expected = case.folded.counts(newest["stock"])
    if counts_of(newest) != expected:
        yield f"{counts_of(newest)} in {name(newest)}, its coupons make {expected}"


def _never_oversold(case: Case) -> Iterator[str]:
    """No more units are held and sold than there are: at the end, and since the last recovery."""
    newest = case.folded.newest
    if newest is not None and len(case.folded.active) > newest["stock"]:
        yield f"{len(case.folded.active)} of {newest['stock']} units at the end"
    for event, folded in _since_last_recovery(case):
        if len(folded.active) > event["stock"]:
            yield f"{len(folded.active)} of {event['stock']} units after {name(event)}"


def _limit(case: Case) -> Iterator[str]:
    """At the end, no customer has more coupons than the limit."""
    owners = Counter(event["customerId"] for event in case.folded.active)
    for customer, count in owners.items():
        if count > case.folded.limit:
            yield f"{customer} has {count} of {case.folded.limit}"


def _one_owner(case: Case) -> Iterator[str]:
    """At the end, no two customers have a coupon of the same number."""
    numbers = Counter(event["number"] for event in case.folded.active)
    yield from (f"number {number}" for number, count in numbers.items() if count > 1)


def _each_event(case: Case) -> Iterator[str]:
    """Since the last recovery, each event's counts are those of the coupons until then."""
    for event, folded in _since_last_recovery(case):
        expected = folded.counts(event["stock"])
        if counts_of(event) != expected:
            yield f"{counts_of(event)} in {name(event)}, its coupons make {expected}"


def _since_last_recovery(case: Case) -> Iterator[tuple[Row, Folded]]:
    """Each event with the fold until then, as long as no version is missing or in conflict.

    A recovery's own events come before its PromotionRecovered and are left out: they all carry the
    counts after the last of them.
    """
    journal = [event for event in case.evidence.journal if not _came_late(event, case)]
    last = int(journal[-1]["version"]) // GENERATION if journal else 0
    in_doubt = {int(event["version"]) for event in case.evidence.conflicts}
    folded = Folded()
    previous = last * GENERATION
    recovered = last == 0
    for event in journal:
        folded.add(event)
        version = int(event["version"])
        if version // GENERATION < last:
            continue
        if version != previous + 1 or version in in_doubt:
            return
        previous = version
        recovered = recovered or event["type"] == "PromotionRecovered"
        if recovered:
            yield event, folded


def _came_late(event: Row, case: Case) -> bool:
    """Whether the newest recovery was without an event of before it."""
    recoveries = [e for e in case.evidence.journal if e["type"] == "PromotionRecovered"]
    if not recoveries or int(event["version"]) >= int(recoveries[-1]["version"]):
        return False
    known = [pair.split("-") for pair in recoveries[-1].get("known", "").split(",") if pair]
    version = int(event["version"])
    return not any(int(pair[0]) <= version <= int(pair[-1]) for pair in known)


def _no_gaps(case: Case) -> Iterator[str]:
    """While the store forgets nothing, versions have no gaps and nothing is in conflict."""
    if case.evidence.set_back:
        return
    versions = [int(event["version"]) for event in case.evidence.journal]
    if versions != list(range(1, len(versions) + 1)) and not _made_by_recovery(case):
        yield f"versions {versions}"
    yield from (f"conflict: {name(event)}" for event in case.evidence.conflicts)


def _made_by_recovery(case: Case) -> bool:
    """True where a recovery has made the promotion, because its creation met a fault."""
    created = case.answers("create")
    interrupted = any(answer.met for answer in created)
    return interrupted and case.evidence.journal[0]["type"] == "PromotionRecovered"


def _order_of_things(case: Case) -> Iterator[str]:
    """While the store forgets nothing, a sale starts first, ends once, and coupons go their way."""
    if case.evidence.set_back or case.evidence.conflicts:
        return
    folded = Folded()
    for event in case.evidence.journal:
        type_ = event["type"]
        if folded.state == "SCHEDULED" and type_ not in (
            "PromotionStarted", "PromotionRecovered", "PromotionCancelled", "PromotionAudited",
        ):  # fmt: skip
            yield f"{name(event)} before the start"
        if folded.state in ENDS.values() and type_ in (
            *ENDS,
            "PromotionRestocked",
            "CouponGrabbed",
        ):
            yield f"{name(event)} after the end"
        if type_ == "PromotionStarted" and folded.started:
            yield f"{name(event)}: started before"
        if "customerId" in event:
            before = folded.coupons.get((event["customerId"], event["number"]))
            move = (state_of(before) if before else None, state_of(event))
            if move not in _MOVES:
                yield f"{name(event)}: {move[0]} to {move[1]}"
        folded.add(event)
        active = sum(e["customerId"] == event.get("customerId") for e in folded.active)
        if active > folded.limit and "customerId" in event:
            yield f"{name(event)}: {event['customerId']} has {active} of {folded.limit}"


def _window(case: Case) -> Iterator[str]:
    """Nobody grabs before the opening or after the end, and no hold ends before its deadline.

    A sale that has started twice, in two stories, may have had two windows.
    """
    told = [*case.evidence.journal, *case.evidence.conflicts]
    windows = [(event["opensAt"], event["closesAt"]) for event in told if "opensAt" in event]
    for event in case.evidence.journal:
        if event["type"] == "CouponGrabbed" and windows:
            at = event["grabbedAt"]
            if not any(opens_at <= at < closes_at for opens_at, closes_at in windows):
                yield f"{name(event)} at {at}"
        deadline = event.get("deadline")
        if event.get("reason") == "EXPIRED" and (deadline is None or event["at"] < deadline):
            yield f"{name(event)} at {event['at']}, its deadline is {deadline}"


def _fences(case: Case) -> Iterator[str]:
    """A hold whose deadline came while the promotion was fenced does not end with the fence."""
    for event in case.evidence.journal:
        if event.get("reason") != "EXPIRED":
            continue
        for since, until in case.evidence.fences:
            if since < event["deadline"] <= until and event["at"] <= until:
                yield f"{name(event)}: fenced from {since} to {until}"


RULES: dict[str, Callable[[Case], Iterator[str]]] = {
    "counts add up": _counts_add_up,
    "counts are those of the coupons": _final_counts,
    "never oversold": _never_oversold,
    "nobody is over the limit": _limit,
    "a number has one owner": _one_owner,
    "each event's counts are right": _each_event,
    "versions have no gaps": _no_gaps,
    "things happen in order": _order_of_things,
    "the window and the deadlines hold": _window,
    "no hold ends behind a fence": _fences,
}
