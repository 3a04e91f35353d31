"""The checker of a chaos run passes what is right, and finds each thing that is not."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.checker import check
from chaos.folded import ENDS, STATES
from chaos.mortal import FATAL, FILES, draw, statements_of
from chaos.parts import Parts
from chaos.recoveries import GENERATION, Known
from chaos.run import HANGS_AFTER_S, Changes
from chaos.schedule import KINDS, schedule
from localstack.cloud import ROOT

Evidence = dict[str, Any]
NOW = 1_000_000


def event(version: int, type_: str, counts: tuple[int, int, int, int], **more: Any) -> Any:
    """`counts`: stock, available, held, sold."""
    named = dict(zip(("stock", "available", "held", "sold"), counts, strict=True))
    return {"type": type_, "promotionId": "p", "version": version, "at": version, **named, **more}


def coupon(number: int, customer: str, at: int, **more: Any) -> dict[str, Any]:
    return {"number": number, "customerId": customer, "grabbedAt": at, "discount": "0.5",
            "requestKey": f"{customer}'s {at}", **more}  # fmt: skip


def line(what: str, customer: str, status: int, code: str = "", **more: Any) -> dict[str, Any]:
    told = more.pop("coupon", None)
    if told:
        told = {"couponId": f"p-{told['number']}", "promotionId": "p", **told}
    at = more.pop("at", 1)
    return {"what": what, "promotion": "p", "customer": customer, "key": None, "started": at,
            "ended": at + 1, "status": status, "code": code, "coupon": told, **more}  # fmt: skip


def wanted_tables(evidence: Evidence) -> None:
    """Make tables and store what the journal says, as a system that works would."""
    newest = {(e["customerId"], e["number"]): e for e in evidence["journal"] if "number" in e}
    evidence["coupons"] = [
        {name: e[name] for name in ("promotionId", "customerId", "number", "version", "discount",
                                    "grabbedAt", "deadline", "paidAt", "paymentReference",
                                    "movedTo", "reason")
         if name in e} | {"coupon": f"p-{e['number']}", "state": STATES[e["type"]]}
        for e in newest.values()
    ]  # fmt: skip
    last, start = evidence["journal"][-1], evidence["journal"][0]
    counts = {name: last[name] for name in ("version", "stock", "available", "held", "sold")}
    ends = [e["type"] for e in evidence["journal"] if e["type"] in ENDS]
    state = ENDS[ends[-1]] if ends else "ON_SALE"
    offer = {"discount": start["discount"], "publishTime": 1, "finishTime": 900,
             "couponsPerCustomer": 1, "holdSeconds": start["holdSeconds"]}  # fmt: skip
    evidence["active"] = [{"promotionId": "p", "state": state, **offer, **counts}]
    owned = {f"{n} {c}": STATES[e["type"]] for (c, n), e in newest.items()}
    evidence["store"] = {"p": {"state": state, **counts, "waiting": 0, "coupons": owned}}


CREATED = line("create", "operator", 201, opens_at=1, closes_at=900)
START = event(1, "PromotionStarted", (3, 3, 0, 0), discount="0.5", opensAt=1, closesAt=900,
              couponsPerCustomer=1, holdSeconds=1)  # fmt: skip
FINISH = {"reason": "FINISHED"}
OFFER = ("discount", "opensAt", "closesAt", "couponsPerCustomer", "holdSeconds")


@pytest.fixture
def evidence() -> Evidence:
    """Alice pays, bob lets it expire and pays too late, carol never heard that she got one."""
    alice = coupon(1, "alice", 2, deadline=12)
    bob = coupon(2, "bob", 3, deadline=13)
    carol = coupon(3, "carol", 4, deadline=14)
    paid = {"paidAt": 5, "paymentReference": "alice's"}
    refund = {"paidAt": 15, "paymentReference": "bob's", "reason": "HOLD_EXPIRED"}
    journal = [
        START,
        event(2, "CouponGrabbed", (3, 2, 1, 0), **alice),
        event(3, "CouponGrabbed", (3, 1, 2, 0), **bob),
        event(4, "CouponGrabbed", (3, 0, 3, 0), **carol),
        event(5, "CouponPaid", (3, 0, 2, 1), **alice, **paid),
        event(6, "PromotionRestocked", (5, 2, 2, 1), added=2, requestKey="more"),
        event(7, "CouponReleased", (5, 3, 1, 1), **bob, reason="EXPIRED") | {"at": 14},
        event(8, "CouponReleased", (5, 4, 0, 1), **carol, reason="GIVEN_BACK") | {"at": 14},
        event(9, "RefundRecorded", (5, 4, 0, 1), **bob, **refund) | {"at": 15},
        event(10, "PromotionFinished", (5, 4, 0, 1), **FINISH) | {"at": 900},
    ]
    history = [
        dict(CREATED),
        line("grab", "alice", 201, coupon=alice, at=2),
        line("grab", "alice", 200, coupon=alice, at=3),
        line("grab", "bob", 202, coupon=bob, at=3),
        line("grab", "carol", 0, "TimeoutError", at=4),
        line("grab", "dave", 409, "SOLD_OUT", at=5),
        line("grab", "dave", 503, "STORE_UNAVAILABLE", at=5),
        line("pay", "alice", 200, coupon=alice, number=1, reference="alice's", at=5),
        line("restock", "operator", 200, key="more", added=2, at=6),
        line("give_back", "carol", 200, coupon=carol, number=3, reference="", at=14),
        line("pay", "bob", 409, "HOLD_EXPIRED", coupon=bob, number=2, reference="bob's", at=15),
        line("grab", "dave", 410, "FINISHED", at=901),
    ]
    found = {
        "history": history,
        "journal": journal,
        "conflicts": [],
        "queues": {"journal": 0},
        "dead": {"journal": ["poison"]},
        "poison": {"journal": ["poison"]},
        "unsettled": [],
        "ended": [],
        "now": NOW,
    }
    wanted_tables(found)
    return copy.deepcopy(found)


def found_in(evidence: Evidence) -> str:
    return "\n".join(check(evidence).sentences())


def test_a_good_run_passes(evidence: Evidence) -> None:
    assert found_in(evidence) == ""


def test_a_second_payment_that_is_refunded_passes(evidence: Evidence) -> None:
    second = PAID | {"paymentReference": "visa-2", "reason": "ALREADY_PAID"}
    insert(8, "RefundRecorded", (5, 3, 1, 1), **ALICE, **second)(evidence)
    insert(9, "CouponPaid", (5, 3, 1, 1), **ALICE, **PAID)(evidence)
    assert not [found for found in check(evidence).found if found.startswith("journal")]


def test_violations_are_counted_and_the_first_named(evidence: Evidence) -> None:
    evidence["ended"] = [f"part {number}" for number in range(7)]
    findings = check(evidence)
    assert findings.count == 7
    assert found_in(evidence) == (
        "parts: ended by themselves: 7 (part 0; part 1; part 2; part 3; part 4; ...)"
    )


def journal(position: int, **changes: Any) -> Callable[[Evidence], None]:
    return lambda evidence: evidence["journal"][position].update(changes)


def history(position: int, **changes: Any) -> Callable[[Evidence], None]:
    return lambda evidence: evidence["history"][position].update(changes)


def without(part: str, position: int) -> Callable[[Evidence], None]:
    return lambda evidence: evidence[part].pop(position)


def also(**more: Any) -> Callable[[Evidence], None]:
    return lambda evidence: evidence["history"].append(line(**more))


def tells(position: int, **changes: Any) -> Callable[[Evidence], None]:
    return lambda evidence: evidence["history"][position]["coupon"].update(changes)


def row(table: str, position: Any, **changes: Any) -> Callable[[Evidence], None]:
    return lambda evidence: evidence[table][position].update(changes)


def insert(version: int, *rest: Any, **more: Any) -> Callable[[Evidence], None]:
    """One more event under a version; what was there moves up."""

    def tamper(evidence: Evidence) -> None:
        for kept in evidence["journal"]:
            kept["version"] += kept["version"] >= version
        evidence["journal"].append(event(version, *rest, **more))

    return tamper


ALICE = coupon(1, "alice", 2, deadline=12)
BOB = coupon(2, "bob", 3, deadline=13)
PAID = {"paidAt": 5, "paymentReference": "alice's"}
REFUND = {"paidAt": 15, "paymentReference": "bob's", "reason": "HOLD_EXPIRED"}
EVE = coupon(4, "eve", 5, deadline=15)
SECOND = coupon(4, "alice", 5, deadline=15)
BOBS = coupon(1, "bob", 3, deadline=13)

CASES: dict[str, tuple[Callable[[Evidence], Any], str]] = {
    "a version is missing": (without("journal", 5), "no recovery"),
    "the start is missing": (without("journal", 0), "no recovery"),
    "counts do not add up": (journal(4, available=1), "counts (stock, available, held, sold) that"),
    "more sold than there is": (journal(4, available=-1, sold=2), "that can't be"),
    "counts are not the coupons'": (journal(4, held=3, sold=0), "that its coupons do not have"),
    "started too early": (journal(0, at=0), "started before its time"),
    "grabbed too early": (journal(0, opensAt=3), "grabbed outside of the window"),
    "grabbed too late": (journal(0, closesAt=4), "grabbed outside of the window"),
    "released too early": (journal(6, at=12), "released before its deadline"),
    "released twice": (
        insert(8, "CouponReleased", (5, 3, 1, 1), **BOB, reason="GIVEN_BACK"),
        "went the wrong way: 1 (RELEASED to RELEASED",
    ),
    "over the limit": (
        insert(7, "CouponGrabbed", (5, 1, 3, 1), **SECOND),
        "a customer over the limit: 1 (alice",
    ),
    "a coupon after the end": (
        insert(11, "CouponGrabbed", (5, 3, 1, 1), **EVE | {"grabbedAt": 11}),
        "grabbed after the end",
    ),
    "a second end": (insert(11, "PromotionFinished", (5, 4, 0, 1), **FINISH), "ended after"),
    "a number granted twice": (
        insert(4, "CouponGrabbed", (3, 0, 3, 0), **coupon(1, "eve", 4, deadline=14)),
        "a number was granted twice",
    ),
    "a type nobody knows": (insert(2, "PromotionPraised", (3, 3, 0, 0)), "a type nobody knows"),
    "a coupon nobody asked for": (without("history", 4), "nobody asked for: 1 (p of carol"),
    "asked for only later": (history(4, started=400), "a coupon that nobody asked for"),
    "a request that was never sent": (history(4, code="NOT_SENT"), "nobody asked for"),
    "an accepted coupon is not in the journal": (
        also(what="grab", customer="eve", status=201, coupon=EVE, at=5),
        "a coupon that the journal does not have",
    ),
    "another's coupon": (tells(1, customerId="bob"), "somebody else's coupon"),
    "granted twice": (
        also(what="grab", customer="alice", status=201, at=2, coupon=coupon(1, "alice", 2)),
        "granted twice",
    ),
    "granted at another time": (history(1, started=200, ended=201), "granted at another time"),
    "another time than before": (tells(2, grabbedAt=3), "another coupon than the journal's"),
    "one coupon for two requests": (
        lambda e: (e["history"][1].update(key="a"), e["history"][2].update(key="b")),
        "one coupon for several requests",
    ),
    "told too early after the opening": (
        also(what="grab", customer="dave", status=403, code="NOT_STARTED", at=99),
        "a refusal that was not true",
    ),
    "told finished before the end": (history(11, ended=700), "a refusal that was not true"),
    "told cancelled": (history(11, code="CANCELLED"), "a refusal that was not true"),
    "told too many": (history(5, code="LIMIT_REACHED"), "a refusal that was not true"),
    "a server's mistake": (history(5, status=500, code="INTERNAL_ERROR"), "nobody should hear"),
    "paid but not in the journal": (
        lambda e: (e["journal"].pop(4), e["history"].pop(8)),
        "a payment that the journal tells otherwise",
    ),
    "refused payment without a refund": (without("journal", 8), "otherwise: 1 (pay of p by b"),
    "another reference": (history(7, reference="b"), "another payment reference"),
    "told unknown of a real coupon": (
        history(7, status=404, code="UNKNOWN_COUPON"),
        "a coupon that is there was unknown",
    ),
    "given back but not in the journal": (history(9, customer="alice", number=1), "but not in"),
    "restocked twice": (
        insert(7, "PromotionRestocked", (7, 4, 2, 1), added=2, requestKey="more"),
        "restocked twice for one request",
    ),
    "restocked unasked": (
        insert(7, "PromotionRestocked", (7, 4, 2, 1), added=2, requestKey="what"),
        "restocks that",
    ),
    "restock answered and lost": (
        also(what="restock", customer="o", status=200, key="lost", added=2),
        "restocks that",
    ),
    "told sold out too early": (
        history(5, started=-100, ended=-99),
        "a refusal that was not true: 1 (grab of p by dave at -100: 409 SOLD_OUT",
    ),
    "cancelled unasked": (
        journal(9, type="PromotionCancelled", reason="CANCELLED"),
        "cancelled, and nobody wanted it",
    ),
    "a coupon out of nowhere": (
        insert(8, "CouponReleased", (5, 3, 1, 1), **EVE, reason="EXPIRED"),
        "a coupon came back that nobody had: 1",
    ),
    "a grab without a key": (
        lambda e: e["journal"][1].pop("requestKey"),
        "a grab without the key of its request",
    ),
    "another's request": (journal(4, requestKey="eve's"), "became another one: 1 (requestKey"),
    "a deadline moved without a fence": (journal(4, deadline=13), "a deadline that was moved: 1"),
    "a deadline moved back": (
        insert(5, "CouponExtended", (3, 0, 3, 0), **ALICE | {"deadline": 11}),
        "a deadline that was moved: 2 (12 to 11",
    ),
    "grabbed twice": (
        insert(5, "CouponGrabbed", (3, 0, 3, 0), **ALICE),
        "went the wrong way: 1 (GRABBED to GRABBED",
    ),
    "held for good": (
        lambda e: (e["journal"].pop(6), e["journal"].pop(6), e["journal"].pop(6)),
        "held for good: 2 (2 of bob",
    ),
    "two refunds of a payment": (
        insert(10, "RefundRecorded", (5, 4, 0, 1), **BOB, **REFUND),
        "one payment with two refunds",
    ),
    "a second payment without a first": (
        insert(10, "RefundRecorded", (5, 4, 0, 1), **BOB, **REFUND | {"reason": "ALREADY_PAID"}),
        "a second payment of what is not paid for",
    ),
    "paid for twice": (
        insert(8, "CouponPaid", (5, 3, 1, 1), **ALICE, **PAID),
        "went the wrong way: 1 (PAID to PAID",
    ),
    "taken and to be given back": (
        lambda e: (e["journal"].insert(4, event(5, "RefundRecorded", (3, 0, 2, 1), **ALICE, **PAID,
                                                reason="REVOKED")),
                   [kept.update(version=n) for n, kept in enumerate(e["journal"], start=1)]),
        "a payment that is taken, and to be given back",
    ),
    "a payment revoked": (
        insert(6, "CouponRevoked", (3, 1, 2, 0), **ALICE, **PAID, reason="SOLD_TWICE"),
        "a payment was revoked without a refund",
    ),
    "already paid, by nobody else": (
        history(7, status=409, code="ALREADY_PAID"),
        "a payment that the journal tells otherwise",
    ),
    "cancelled and forgotten": (
        also(what="cancel", customer="operator", status=200),
        "cancelled, but not in the journal",
    ),
    "never started": (
        also(what="create", customer="o", status=201, promotion="q", opens_at=1, closes_at=2),
        "never started: 1 (q)",
    ),
    "never ended": (without("journal", 9), "never ended"),
    "a promotion that nobody asked for": (
        history(0, promotion="q", opens_at=999_999_999),
        "one that nobody asked for: 1 (p)",
    ),
    "one key made two": (
        lambda e: [also(what="create", customer="o", status=200, promotion=name, key="same",
                        opens_at=999999, closes_at=999999)(e) for name in "qr"],
        "one key made two: 1 (r)",
    ),
    "a row is missing": (without("coupons", 0), "coupons table: a coupon is missing"),
    "a row too many": (
        lambda e: e["coupons"].append({**e["coupons"][0], "customerId": "eve"}),
        "coupons table: a coupon that the journal does not have",
    ),
    "a row is old": (row("coupons", 0, state="GRABBED"), "p-1 state GRABBED instead of PAID"),
    "a row lacks a field": (lambda e: e["coupons"][0].pop("paidAt"), "paidAt None instead of 5"),
    "a promotion's row is missing": (without("active", 0), "not the promotions of the journal"),
    "a promotion's row is old": (row("active", 0, version=9), "version 9 instead of 10"),
    "a promotion is still shown": (row("active", 0, state="ON_SALE"), "state ON_SALE instead"),
    "the store is behind": (row("store", "p", sold=0), "store: differs from the journal"),
    "the store sells on": (row("store", "p", state="ON_SALE"), "p state ON_SALE instead"),
    "the store has another coupon": (
        lambda e: e["store"]["p"]["coupons"].update({"1 alice": "GRABBED"}),
        "1 alice GRABBED instead of PAID",
    ),
    "an outbox is not empty": (row("store", "p", waiting=2), "events left in an outbox: 1 (2 of p"),
    "a phantom in the store": (
        lambda e: e["store"].update(q={**e["store"]["p"]}),
        "a promotion that the journal does not have",
    ),
    "a queue is not empty": (lambda e: e["queues"].update(timers=3), "left: 1 (3 in timers"),
    "a good message is dead": (lambda e: e["dead"]["journal"].append("good"), "a good message: 1"),
    "poison got lost": (lambda e: e["dead"].update(journal=[]), "poison that is not there: 1"),
    "a conflict is left": (lambda e: e["unsettled"].append("p 3-x"), "nobody has settled one"),
    "a conflict that is none": (
        lambda e: e["conflicts"].append(e["journal"][1]),
        "conflicts: no conflict",
    ),
    "a conflict and no recovery": (
        lambda e: e["conflicts"].append({**e["journal"][1], "at": 99}),
        "no recovery",
    ),
    "a generation without its event": (
        insert(GENERATION + 1, "PromotionRestocked", (5, 4, 0, 1), added=0, requestKey="n"),
        "a generation without its PromotionRecovered",
    ),
    "a recovery without a generation": (
        insert(11, "PromotionRecovered", (5, 4, 0, 1), reason="STATE_LOST", lost=0),
        "a PromotionRecovered that ends no recovery",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tamper", "expected"), CASES.values(), ids=CASES)
def test_each_violation_is_found(
    evidence: Evidence, tamper: Callable[[Evidence], None], expected: str
) -> None:
    tamper(evidence)
    assert expected in found_in(evidence)


def test_the_store_may_forget_what_is_over_but_nothing_else(evidence: Evidence) -> None:
    evidence["store"] = {}
    assert found_in(evidence) == ""
    del evidence["journal"][9]
    assert "a promotion on sale is missing" in found_in(evidence)


Counts = tuple[int, int, int, int]


def recovery(counts: Counts, *parts: Any, at: int = 500, **more: Any) -> Iterator[Any]:
    """A recovery of stock 2: its parts (type, coupon, more), and then PromotionRecovered."""
    version = GENERATION
    for type_, told, more_of_it in parts:
        version += 1
        yield event(version, type_, counts, **told, **more_of_it) | {"at": at}
    offer = {name: value for name, value in START.items() if name in OFFER}
    whole: dict[str, Any] = {
        "reason": "WRITES_LOST", "lost": 0, "state": "ON_SALE", "granted": 3, "revision": 1,
        "known": "1-3" + (f",{GENERATION + 1}-{version}" if parts else ""), **offer, **more,
    }  # fmt: skip
    yield event(version + 1, "PromotionRecovered", counts, **whole) | {"at": at}


@pytest.fixture
def two_stories() -> Evidence:
    """Alice got number 1; the store forgot it and gave 1 to bob, and 2 to eve; stock is 2.

    Bob's grab is the conflict, eve's has a version of its own. The recovery revokes eve's, who
    came last, and gives bob a number of his own.
    """
    alice, bob, eve = (coupon(1, "alice", 2), coupon(1, "bob", 3), coupon(2, "eve", 4))
    journal = [
        {**START, "stock": 2, "available": 2},
        event(2, "CouponGrabbed", (2, 1, 0, 1), **alice),
        event(3, "CouponGrabbed", (2, 0, 0, 2), **eve),
        *recovery(
            (2, 0, 0, 2),
            ("CouponRevoked", bob, {"reason": "RENUMBERED", "movedTo": 3}),
            ("CouponGrabbed", {**bob, "number": 3}, {}),
            ("CouponRevoked", eve, {"reason": "SOLD_TWICE"}),
        ),
        event(GENERATION + 5, "PromotionFinished", (2, 0, 0, 2), reason="SOLD_OUT"),
    ]
    found = {
        "history": [
            CREATED,
            line("grab", "alice", 201, coupon=alice, at=2),
            line("grab", "bob", 201, coupon=bob, at=3),
            line("grab", "bob", 200, coupon={**bob, "number": 3}, at=600),
            line("grab", "eve", 201, coupon=eve, at=4),
        ],
        "journal": journal,
        "conflicts": [event(2, "CouponGrabbed", (2, 1, 0, 1), **bob)],
        "queues": {},
        "dead": {},
        "poison": {},
        "unsettled": [],
        "ended": [],
        "now": NOW,
    }
    wanted_tables(found)
    return copy.deepcopy(found)


def test_a_truthful_recovery_passes(two_stories: Evidence) -> None:
    assert found_in(two_stories) == ""


RECOVERIES: dict[str, tuple[Callable[[Evidence], Any], str]] = {
    "a customer without a record": (
        lambda e: e["journal"].__delitem__(slice(3, 5)),
        "conflicts: a coupon without a record",
    ),
    "sold twice": (without("journal", 5), "a recovery whose counts its coupons do not have"),
    "one number for two": (
        lambda e: (e["journal"][3].update(type="CouponGrabbed"), e["journal"][4].update(number=9)),
        "a number of two customers after a recovery",
    ),
    "over the limit": (
        lambda e: e["journal"][4].update(customerId="alice"),
        "a customer over the limit after a recovery",
    ),
    "one request has two coupons": (
        lambda e: e["journal"][4].update(customerId="alice", requestKey="alice's 2"),
        "several coupons for one request",
    ),
    "a gap that was not told": (
        lambda e: (e["journal"].pop(1), e["journal"][5].update(known="1,3")),
        "does not tell how many versions",
    ),
    "it knows what is not there": (journal(6, known="1-4"), "has read what is not there: 1"),
    "it does not know": (
        lambda e: e["journal"][6].pop("known"),
        "a recovery without a part of the promotion: 1 (known of p",
    ),
    "it has read nothing": (
        journal(6, known="0"),
        "a recovery whose counts its coupons do not have",
    ),
    "it is not the last": (
        lambda e: (e["journal"][5].update(version=GENERATION + 4),
                   e["journal"][6].update(version=GENERATION + 3)),
        "went the wrong way: 1 (GRABBED to REVOKED",
    ),
    "an event that is not a coupon's": (
        lambda e: e["journal"].__setitem__(
            5, event(GENERATION + 3, "PromotionAudited", (2, 0, 0, 2)) | {"at": 500}
        ),
        "an event before its recovery had ended",
    ),
    "other counts on the way": (
        journal(3, available=1, sold=1),
        "a recovery's event with other counts than its last one",
    ),
    "a part later than the end": (journal(3, at=501), "a recovery's event after its last one"),
    "a version of it is missing": (
        lambda e: [kept.update(version=kept["version"] + 1) for kept in e["journal"][5:]],
        "a version of a recovery is missing",
    ),
    "no offer": (lambda e: e["journal"][6].pop("opensAt"), "without a part of the promotion: 1"),
    "another offer": (journal(6, closesAt=901), "a recovery with another offer"),
    "an old revision": (journal(0, revision=1), "a recovery with an old revision"),
    "a number again": (journal(6, granted=2), "a recovery that grants a number again"),
    "a restock forgotten": (
        lambda e: e["journal"].insert(3, event(4, "PromotionRestocked", (3, 1, 0, 2), added=1,
                                               requestKey="k")) or
        e["journal"][7].update(known=f"1-4,{GENERATION + 1}-{GENERATION + 3}"),
        "a recovery that forgets a restock",
    ),
    "another stock": (
        lambda e: [kept.update(stock=3, available=1) for kept in e["journal"][3:]],
        "a stock that is not the first one and its restocks",
    ),
    "a cancellation taken back": (
        lambda e: (e["journal"].insert(3, event(4, "PromotionCancelled", (2, 0, 0, 2),
                                                reason="CANCELLED")),
                   e["journal"][7].update(known=f"1-4,{GENERATION + 1}-{GENERATION + 3}")),
        "a recovery that takes a cancellation back",
    ),
    "a cancelled story forgotten": (
        lambda e: e["conflicts"].append(
            event(2, "PromotionCancelled", (2, 1, 0, 1), reason="CANCELLED")
        ),
        "conflicts: a cancellation without a record",
    ),
    "a restock of another story forgotten": (
        lambda e: e["conflicts"].append(
            event(2, "PromotionRestocked", (2, 1, 0, 1), added=1, requestKey="k")
        ),
        "conflicts: a restock without a record",
    ),
    "an end that can't be": (journal(6, closedAs="SOLD_OUT"), "a recovery whose end can't be"),
    "sold out with a hold": (
        journal(6, state="FINISHED", closedAs="SOLD_OUT", held=1, sold=1),
        "a recovery that is sold out with units held",
    ),
    "a new number that is not told": (
        lambda e: e["journal"][3].pop("movedTo"),
        "a new number that is not told",
    ),
    "a new number that is nobody's": (
        journal(3, movedTo=8),
        "a coupon moved to a number that is not there: 1 (1 of bob",
    ),
    "a version under the wrong generation": (journal(7, version=GENERATION + 9), "no recovery"),
    "a payment without a record": (
        lambda e: e["conflicts"].append(
            event(3, "CouponPaid", (2, 0, 0, 2), **coupon(1, "alice", 2), **PAID)
        ),
        "conflicts: a payment without a record",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tamper", "expected"), RECOVERIES.values(), ids=RECOVERIES)
def test_each_untruthful_recovery_is_found(
    two_stories: Evidence, tamper: Callable[[Evidence], None], expected: str
) -> None:
    tamper(two_stories)
    assert expected in found_in(two_stories)


def test_an_interrupted_recovery_goes_on_in_its_generation(two_stories: Evidence) -> None:
    two_stories["journal"][3].update(at=450, sold=1, available=1)
    wanted_tables(two_stories)
    assert found_in(two_stories) == ""


@pytest.fixture
def latecomers() -> Evidence:
    """A sale of three. The recovery was without alice's and bob's coupons, and gave 1 to eve.

    Alice's came late and got a new number, bob's came late and had to be revoked. Carol's hold was
    open behind a fence, and was released later for it.
    """
    alice, bob = coupon(1, "alice", 2), coupon(2, "bob", 3)
    carol, eve = coupon(3, "carol", 4, deadline=505), coupon(4, "eve", 600)
    later = {**carol, "deadline": 605}
    whole: dict[str, Any] = {"known": f"1,4,{GENERATION + 1}", "lost": 2, "granted": 3}
    carols, *_ = recovered = [*recovery((3, 2, 1, 0), ("CouponExtended", later, {}), **whole)]
    assert carols["type"] == "CouponExtended"
    found = {
        "history": [
            CREATED,
            *(line("grab", name["customerId"], 201, coupon=name, at=name["grabbedAt"])
            for name in (alice, bob, carol, eve)),
        ],
        "journal": [
            {**START},
            event(2, "CouponGrabbed", (3, 2, 0, 1), **alice),
            event(3, "CouponGrabbed", (3, 1, 0, 2), **bob),
            event(4, "CouponGrabbed", (3, 0, 1, 2), **carol),
            *recovered,
            event(GENERATION + 3, "CouponGrabbed", (3, 1, 1, 1), **eve) | {"at": 600},
            event(GENERATION + 4, "CouponRevoked", (3, 1, 1, 1), **alice, reason="RENUMBERED",
                  movedTo=5) | {"at": 601},
            event(GENERATION + 5, "CouponGrabbed", (3, 0, 1, 2), **alice | {"number": 5})
            | {"at": 601},
            event(GENERATION + 6, "CouponRevoked", (3, 0, 1, 2), **bob, reason="SOLD_TWICE")
            | {"at": 602},
            event(GENERATION + 7, "CouponReleased", (3, 1, 0, 2), **later, reason="EXPIRED")
            | {"at": 605},
            event(GENERATION + 8, "PromotionFinished", (3, 1, 0, 2), **FINISH) | {"at": 900},
        ],
        "conflicts": [],
        "queues": {},
        "dead": {},
        "poison": {},
        "unsettled": [],
        "ended": [],
        "now": NOW,
    }  # fmt: skip
    wanted_tables(found)
    return copy.deepcopy(found)


def test_what_came_late_and_counts_passes(latecomers: Evidence) -> None:
    assert found_in(latecomers) == ""


def late(type_: str, **more: Any) -> Callable[[Evidence], None]:
    """Alice's coupon, which came late, is another event."""
    return lambda evidence: evidence["journal"].__setitem__(
        1, event(2, type_, (3, 2, 0, 1), **more)
    )


LATE: dict[str, tuple[Callable[[Evidence], Any], str]] = {
    "a coupon does not count": (without("journal", 9), "came late and does not count: 1 (CouponG"),
    "a restock does not count": (
        late("PromotionRestocked", added=0, requestKey="k"),
        "came late and does not count: 1 (PromotionRestocked",
    ),
    "a cancellation does not count": (
        late("PromotionCancelled", reason="CANCELLED"),
        "came late and does not count: 1 (PromotionCancelled",
    ),
    "a coupon of nobody": (journal(8, number=7), "a coupon came back that nobody had"),
    "a unit too many": (
        journal(9, type="CouponGrabbed"),
        "that its coupons do not have",
    ),
    "a deadline that ends behind the fence": (
        journal(10, deadline=505, at=604),
        "a deadline that was moved: 1 (605 to 505",
    ),
}


@pytest.mark.parametrize(("tamper", "expected"), LATE.values(), ids=LATE)
def test_each_latecomer_that_does_not_count_is_found(
    latecomers: Evidence, tamper: Callable[[Evidence], None], expected: str
) -> None:
    tamper(latecomers)
    assert expected in found_in(latecomers)


def test_the_versions_that_a_recovery_has_read() -> None:
    known = Known({"known": f"1-7,9,{GENERATION + 1}-{GENERATION + 2}"})
    assert all(version in known for version in (1, 7, 9, GENERATION + 2))
    assert not any(version in known for version in (0, 8, 10, GENERATION, GENERATION + 3))
    assert known.lost == 1
    assert 1 not in Known({"known": "0"})


def test_statements_of_a_recovery_are_drawn_by_a_seed() -> None:
    assert draw("1") == draw("1") != draw("2")
    for path, count in zip(FILES, FATAL.values(), strict=True):
        drawn = [statement for statement in draw("1") if statement[0] == path]
        assert len(drawn) == count
        assert set(drawn) <= set(statements_of(path))


def test_a_process_is_killed_at_a_statement_of_a_recovery(tmp_path: Path) -> None:
    log = tmp_path / "deaths.jsonl"
    code = (
        "import sys; from pathlib import Path; from chaos import mortal\n"
        "from chalicelib.commands import rebuild_state\n"
        "statements = mortal.statements_of(mortal.FILES[1])\n"
        "mortal.Fate({statement: 1 for statement in statements}, Path(sys.argv[1])).follow("
        "rebuild_state)\n"
        "rebuild_state._install('p', 'token', None, [], None)\n"
    )
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code, str(log)], cwd=ROOT, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert json.loads(log.read_text())["killed"].startswith("rebuild_state.py:")


def test_what_was_killed_at_a_statement_is_started_again(tmp_path: Path) -> None:
    parts = Parts(tmp_path, [], "", "", 0, dict(os.environ))
    parts.commands["web"] = [sys.executable, "-m", "http.server", "0"]
    parts.mortal["web"] = "1"
    parts.start("web")
    first = parts.running["web"]
    try:
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        parts.check()
        assert (parts.ended, parts.killed) == ([], 1)
        assert parts.running["web"].process.poll() is None
        assert parts.armed == {"web"}
    finally:
        parts.running["web"].stop()


def test_what_changes_goes_on_and_what_does_not_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    changes = Changes()
    for depth in (3, 2, 1):
        now += HANGS_AFTER_S - 1
        assert changes.go_on(depth)
    now += HANGS_AFTER_S
    assert not changes.go_on(1)


def test_a_seed_gives_the_same_faults_and_each_kind_about_equally_often() -> None:
    faults = schedule(7, 150, list(KINDS))
    assert faults == schedule(7, 150, list(KINDS))
    assert faults != schedule(8, 150, list(KINDS))
    counts = {kind: sum(fault.kind == kind for fault in faults) for kind in KINDS}
    back = [counts.pop(kind) for kind in ("store", "wipe", "snapshot")]
    assert max(counts.values()) - min(counts.values()) <= 2
    assert 2 * max(back) - min(counts.values()) <= 2
    assert all(1 <= fault.at_s < 149 for fault in faults)
    assert schedule(7, 150, []) == []
