"""A judge that finds nothing proves nothing: each rule is broken here, once."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from simulate.evidence import Evidence
from simulate.fold import GENERATION
from simulate.judge import RULES, judge
from simulate.lab import Lab
from simulate.run import play
from simulate.steps import read_script

# alice pays, bob gives back, carol's hold ends and her payment is refunded, dave's is released by
# the cancellation.
SCRIPT = """
Sale(stock=3, limit=2, hold_s=30)
Grab(key='k1')
Pay()
Grab(who='bob')
GiveBack(who='bob')
Restock(add=2)
Grab(who='carol')
Time(ms=30000)
Grab(who='dave')
Cancel()
Pay(who='carol', reference='visa-2')
"""
Change = Callable[[Evidence], Evidence]


@pytest.fixture
def evidence(lab: Lab) -> Evidence:
    return play(lab, read_script(SCRIPT))


def rules_broken(evidence: Evidence) -> set[str]:
    return {violation.rule for violation in judge(evidence)}


def event(type_: str, **values: Any) -> Change:
    """The first event of a type has other values; None takes one out."""

    def change(evidence: Evidence) -> Evidence:
        journal = list(evidence.journal)
        place = next(i for i, e in enumerate(journal) if e["type"] == type_)
        changed = {**journal[place], **values}
        journal[place] = {key: value for key, value in changed.items() if value is not None}
        return replace(evidence, journal=journal)

    return change


def without(type_: str, customer: str | None = None) -> Change:
    """The journal has lost all events of a type, or those of one customer."""

    def change(evidence: Evidence) -> Evidence:
        kept = [
            e
            for e in evidence.journal
            if e["type"] != type_ or customer not in (None, e.get("customerId"))
        ]
        return replace(evidence, journal=kept)

    return change


def one_more(**values: Any) -> Change:
    """The journal has a grab of dave's more, at its end."""

    def change(evidence: Evidence) -> Evidence:
        grab = next(e for e in evidence.journal if e["type"] == "CouponGrabbed")
        version = int(evidence.journal[-1]["version"]) + 1
        more = {**grab, "customerId": "dave", "version": version, **values}
        return replace(evidence, journal=[*evidence.journal, more])

    return change


def renumbered(evidence: Evidence) -> Evidence:
    """alice's coupon got another number, its payment stayed, and was refunded as well."""
    paid = next(e for e in evidence.journal if e["type"] == "CouponPaid")
    refund = {**paid, "type": "RefundRecorded", "reason": "REVOKED"}
    moved = {**paid, "type": "CouponRevoked", "reason": "RENUMBERED", "movedTo": 9}
    more = [moved, {**paid, "number": 9}, refund]
    return replace(evidence, journal=[*evidence.journal, *more])


def answered(what: str, **values: Any) -> Change:
    """The last answer of a kind was another one."""

    def change(evidence: Evidence) -> Evidence:
        answers = list(evidence.answers)
        place = max(i for i, answer in enumerate(answers) if answer.what == what)
        answers[place] = replace(answers[place], **values)
        return replace(evidence, answers=answers)

    return change


def left(**values: Any) -> Change:
    """Something else was left behind."""
    return lambda evidence: replace(evidence, **values)


def row(name: str, **values: Any) -> Change:
    """A row, the first of its table, has other values."""

    def change(evidence: Evidence) -> Evidence:
        found: Any = getattr(evidence, name)
        one = isinstance(found, Mapping)
        changed: Any = {**found, **values} if one else [{**found[0], **values}, *found[1:]]
        return left(**{name: changed})(evidence)

    return change


# Rule -> changes that each break it.
BREAKS: dict[str, list[Change]] = {
    "commands end with an outcome": [left(errors=["KeyError"])],
    "counts add up": [
        event("CouponPaid", available=99),
        event("CouponPaid", available=-1, held=3),
    ],
    "counts are those of the coupons": [one_more(number=9)],
    "never oversold": [one_more(number=9, stock=1)],
    "nobody is over the limit": [event("PromotionStarted", couponsPerCustomer=0)],
    "a number has one owner": [one_more(number=1)],
    "each event's counts are right": [event("CouponPaid", held=1, available=1)],
    "versions have no gaps": [
        without("PromotionRestocked"),
        left(conflicts=[{"type": "CouponGrabbed", "version": 2}]),
        event("PromotionStarted", version=GENERATION + 1),
    ],
    "things happen in order": [
        without("PromotionStarted"),
        without("CouponGrabbed", "alice"),
        one_more(number=9),
        event("PromotionRestocked", type="PromotionFinished", reason="FINISHED"),
    ],
    "the window and the deadlines hold": [
        event("CouponGrabbed", grabbedAt=1),
        event("CouponReleased", reason="EXPIRED"),
    ],
    "no hold ends behind a fence": [left(fences=[(1_700_000_000_001, 1_700_000_030_000)])],
    "every coupon that was answered has a true record": [
        lambda found: without("CouponGrabbed", "bob")(without("CouponReleased", "bob")(found)),
        without("CouponReleased", "bob"),
        event("CouponPaid", paymentReference="another"),
        event("CouponPaid", type="CouponRevoked", reason="SOLD_TWICE"),
        lambda evidence: replace(
            event("CouponPaid", type="CouponRevoked", reason="SOLD_TWICE")(evidence), set_back=True
        ),
        event("CouponReleased", deadline=None),
    ],
    "every payment that was taken is on record": [
        without("CouponPaid"),
        without("RefundRecorded"),
        event("RefundRecorded", paymentReference="another"),
    ],
    "a payment has one end": [renumbered],
    "what was given back stays given back": [without("CouponReleased", "bob")],
    "a winner who comes again gets the coupon": [
        lambda found: event("PromotionStarted", couponsPerCustomer=1)(
            answered("grab", who="alice", outcome="SOLD_OUT", coupon=None)(found)
        ),
    ],
    "nobody has what they did not ask for": [one_more(number=9), one_more(customerId="erin")],
    "one key gets one coupon": [
        answered("grab", who="alice", asked={"key": "k1"}),
    ],
    "the stock is as answered": [
        answered("restock", asked={"add": 1, "key": "monday"}),
        answered("restock", outcome="FINISHED"),
    ],
    "the offer is as answered": [event("PromotionStarted", couponsPerCustomer=1)],
    "what was cancelled is cancelled": [without("PromotionCancelled")],
    "what was created starts and ends": [without("PromotionCancelled"), left(promotion=None)],
    "the coupons table is a fold of the journal": [
        row("coupons", state="GRABBED"),
        row("coupons", customerId="erin"),
        left(coupons=[]),
    ],
    "the active promotions table is a fold of the journal": [
        row("active", available=99),
        row("active", state="ON_SALE"),
        row("active", couponsPerCustomer=9),
        left(active=None),
    ],
    "the store has what the journal has": [
        row("store", version="1"),
        row("store", hold_ms="1"),
        left(store={"recovering": "token"}),
        left(owned={}),
    ],
    "in the end all is quiet": [
        left(waiting=1),
        left(open_conflicts=1),
        left(lasting=["outbox"]),
        row("store", recovering="token"),
        row("promotion", live="LIVE"),
    ],
    "the promotions table has the end": [row("promotion", closedAs="SOLD_OUT")],
}  # fmt: skip


def test_a_healthy_history_breaks_no_rule(evidence: Evidence) -> None:
    assert judge(evidence) == []
    outcomes = [answer.outcome for answer in evidence.answers]
    assert outcomes == [
        "CREATED", "GRANTED", "PAID", "GRANTED", "RELEASED", "RESTOCKED", "GRANTED", "GRANTED",
        "CANCELLED", "CANCELLED",
    ]  # fmt: skip


def test_each_rule_is_broken_by_what_it_forbids(evidence: Evidence) -> None:
    assert BREAKS.keys() == {*RULES, "commands end with an outcome"}
    for rule, changes in BREAKS.items():
        for place, change in enumerate(changes):
            assert rule in rules_broken(change(evidence)), f"{rule}, change {place}"
