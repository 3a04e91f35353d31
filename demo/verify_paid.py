"""The verdict on a sale with payment: no unit is sold twice, and none is lost on its way back.

Pure functions, as in verify.py, whose rules on answers and rows hold here, too.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demo.history import PAID, RETURNED, TOO_LATE, Attempt, Settlement
from demo.replay import Replay, replay, twice
from demo.verdict import Verdict, repeated
from demo.verify import check_agreement, check_answers, check_numbers, check_rows, sources_of


@dataclass(slots=True)
class PaidVerdict(Verdict):
    """What a sale with payment adds to the figures.

    paid, stored_paid, journaled_paid: paid coupons in the answers, the read table, the journal.
    released: coupons whose unit came back; given_back: those by the customer. resold: units that
    were granted once more. late: expired coupons whose payment was honoured all the same.
    refunds: payments that have to be refunded. returned: attempts beyond a customer's first.

    Here `oversold` counts units beyond the stock that were held or sold at the same time or
    paid, and `duplicates` also coupons that a customer had beyond the limit at any time.
    """

    paid: int = 0
    stored_paid: int = 0
    journaled_paid: int = 0
    released: int = 0
    given_back: int = 0
    resold: int = 0
    late: int = 0
    refunds: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True)
class PaidRun:
    """One promotion whose coupons had to be paid, and in which who lost could come back.

    attempts, settlements: what the customers were told. coupons, journal, available: as in
    `verify`.
    """

    customers: int
    stock: int
    attempts: Sequence[Attempt]
    settlements: Sequence[Settlement]
    coupons: Sequence[Mapping[str, Any]]
    journal: Sequence[Mapping[str, Any]]
    available: int | None


def verify_paid(run: PaidRun) -> PaidVerdict:
    """Judge a run in which the customers kept coming until all units were paid."""
    rows = [json.loads(row["event"]) for row in run.journal]
    sources = sources_of(run.attempts, run.coupons, rows)
    granted, stored, journaled = (len(source) for source in sources.values())
    verdict = PaidVerdict(run.customers, run.stock, granted, stored, journaled)
    served = len({attempt.customer_id for attempt in run.attempts})
    verdict.returned = len(run.attempts) - served
    verdict.resold = max(0, journaled - run.stock)
    if served != run.customers:
        verdict.add(f"{run.customers} customers were to be served, {served} were")
    check_answers(verdict, run.attempts)
    for name, source in sources.items():
        check_numbers(verdict, name, source)
    check_agreement(verdict, sources)
    events = check_rows(verdict, run.journal, rows)
    found = replay(events)
    _check_replay(verdict, found)
    _check_payments(verdict, run, events)
    _check_releases(verdict, run, events, found)
    _check_states(verdict, run, found)
    _check_end(verdict, events)
    left = max(0, run.stock - run.customers) or None
    if run.available != left:
        verdict.add(f"promotions on sale: shown with {run.available} left instead of {left}")
    return verdict


def _check_replay(verdict: PaidVerdict, found: Replay) -> None:
    """Every event follows from those before it, and nobody ever has more than one coupon."""
    verdict.add_named("journal: events that can't follow, versions", found.impossible)
    verdict.add_named("journal: events of another customer's coupon", found.strangers)
    verdict.add_named("journal: coupons that expired before their deadline", found.early)
    verdict.add_named(
        "journal: events whose counts don't follow from the event before, versions",
        found.miscounted,
    )
    verdict.add_named("journal: customers with two active coupons", found.greedy)
    verdict.duplicates = max(verdict.duplicates, sum(found.greedy.values()))
    _note_over(verdict, "units held or sold at the same time", found.most_active)


def _check_payments(
    verdict: PaidVerdict, run: PaidRun, events: Sequence[Mapping[str, Any]]
) -> None:
    """Each unit is paid once, and everybody knows of it: the payer, the table, the journal."""
    expected = min(run.customers, run.stock)
    paid = {
        "answers": [s.coupon_id for s in run.settlements if s.answer == PAID],
        "read table": [c["couponId"] for c in run.coupons if c["state"] == "PAID"],
        "journal": _of(events, "CouponPaid"),
    }
    verdict.paid, verdict.stored_paid, verdict.journaled_paid = map(len, paid.values())
    for name, coupons in paid.items():
        if len(coupons) != expected:
            verdict.add(f"{name}: {len(coupons)} paid coupons instead of {expected}")
        again = repeated(coupons)
        verdict.duplicates = max(verdict.duplicates, sum(again.values()))
        verdict.add_named(f"{name}: coupons paid more than once", again)
        _note_over(verdict, f"{name}: paid coupons", len(coupons))
    lost: set[str] = set()
    for name in ("read table", "journal"):
        lost.update(_compare(verdict, name, "paid", paid["answers"], paid[name]))
    verdict.lost = max(verdict.lost, len(lost))


def _check_releases(
    verdict: PaidVerdict, run: PaidRun, events: Sequence[Mapping[str, Any]], found: Replay
) -> None:
    """What was not paid came back, once; what was paid too late has its refund on record."""
    verdict.add_strange(
        (s.status, f"{s.code} to a {s.did}", s.customer_id)
        for s in run.settlements
        if s.answer not in (PAID, RETURNED, TOO_LATE)
    )
    released = _of(events, "CouponReleased")
    verdict.released, verdict.late = len(released), found.late
    unpaid = verdict.journaled - verdict.journaled_paid + found.late
    if len(released) != unpaid:
        verdict.add(
            f"journal: {len(released)} releases, but {unpaid} coupons were not paid in time"
        )
    verdict.add_named("journal: coupons released more than once", twice(events, "CouponReleased"))
    returned = [s.coupon_id for s in run.settlements if s.answer == RETURNED]
    verdict.given_back = len(returned)
    kept = set(returned).difference(released)
    verdict.add_named("journal: coupons that were given back are not released", sorted(kept))
    refused = [s.coupon_id for s in run.settlements if s.answer == TOO_LATE]
    recorded = _of(events, "RefundRecorded")
    verdict.refunds = len(recorded)
    _compare(verdict, "journal", "refund", refused, recorded)


def _check_states(verdict: PaidVerdict, run: PaidRun, found: Replay) -> None:
    """Each row is as its coupon's last event left it, and no coupon is left open."""
    states = found.shown()
    verdict.add_named(
        "read table: coupons in another state than their last event",
        (
            f"{c['couponId']} {c['state']}"
            for c in run.coupons
            if states.get(c["couponId"], c["state"]) != c["state"]
        ),
    )
    verdict.add_named(
        "journal: coupons neither paid nor released",
        (coupon for coupon, state in states.items() if state == "GRABBED"),
    )


def _check_end(verdict: PaidVerdict, events: Sequence[Mapping[str, Any]]) -> None:
    """The sale ends once, when all is paid; only refunds may follow."""
    ends = int(verdict.customers >= verdict.stock)
    at = [place for place, event in enumerate(events) if event["type"] == "PromotionFinished"]
    if len(at) != ends:
        verdict.add(f"journal: PromotionFinished is there {len(at)} times instead of {ends}")
    after = events[at[0] + 1 :] if at else []
    verdict.add_named(
        "journal: events after PromotionFinished that are no refunds, versions",
        (str(event["version"]) for event in after if event["type"] != "RefundRecorded"),
    )


def _of(events: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    """The ids of the coupons that have an event of a kind, once for each event."""
    return [f"{e['promotionId']}-{e['number']}" for e in events if e["type"] == kind]


def _compare(
    verdict: PaidVerdict, name: str, what: str, told: Collection[str], kept: Collection[str]
) -> set[str]:
    """Note where a source and the answers differ; returns what the source does not have."""
    missing = set(told).difference(kept)
    verdict.add_named(f"{name}: coupons answered as {what} are not", sorted(missing))
    unasked = set(kept).difference(told)
    verdict.add_named(f"{name}: coupons {what} that no answer told", sorted(unasked))
    return missing


def _note_over(verdict: PaidVerdict, what: str, count: int) -> None:
    over = count - verdict.stock
    if over > 0:
        verdict.oversold = max(verdict.oversold, over)
        verdict.add(f"{what}: {over} beyond the stock")
