"""The checker of a chaos run passes what is right, and finds each thing that is not."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chaos.checker import check
from chaos.fold import GENERATION, STATES
from chaos.schedule import KINDS, schedule

Evidence = dict[str, Any]
NOW = 1_000_000


def event(version: int, type_: str, counts: tuple[int, int, int, int], **more: Any) -> Any:
    """`counts`: stock, available, held, sold."""
    named = dict(zip(("stock", "available", "held", "sold"), counts, strict=True))
    return {"type": type_, "promotionId": "p", "version": version, "at": version, **named, **more}


def coupon(number: int, customer: str, at: int, **more: Any) -> dict[str, Any]:
    return {"number": number, "customerId": customer, "grabbedAt": at, "discount": "0.5", **more}


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
                                    "grabbedAt", "deadline", "paidAt", "paymentReference")
         if name in e} | {"coupon": f"p-{e['number']}", "state": STATES[e["type"]]}
        for e in newest.values()
    ]  # fmt: skip
    last, start = evidence["journal"][-1], evidence["journal"][0]
    counts = {name: last[name] for name in ("version", "stock", "available", "held", "sold")}
    ended = any(e["type"] == "PromotionFinished" for e in evidence["journal"])
    state = "FINISHED" if ended else "ON_SALE"
    offer = {"discount": start["discount"], "publishTime": 1, "finishTime": 900,
             "couponsPerCustomer": 1, "holdSeconds": 1}  # fmt: skip
    evidence["active"] = [{"promotionId": "p", "state": state, **offer, **counts}]
    owned = {f"{n} {c}": STATES[e["type"]] for (c, n), e in newest.items()}
    evidence["store"] = {"p": {"state": state, **counts, "waiting": 0, "coupons": owned}}


START = event(1, "PromotionStarted", (3, 3, 0, 0), discount="0.5", opensAt=1, closesAt=900,
              couponsPerCustomer=1, holdSeconds=1)  # fmt: skip
FINISH = {"reason": "FINISHED"}


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
        event(6, "PromotionRestocked", (5, 2, 2, 1), added=2),
        event(7, "CouponReleased", (5, 3, 1, 1), **bob, reason="EXPIRED") | {"at": 14},
        event(8, "CouponReleased", (5, 4, 0, 1), **carol, reason="GIVEN_BACK") | {"at": 14},
        event(9, "RefundRecorded", (5, 4, 0, 1), **bob, **refund) | {"at": 15},
        event(10, "PromotionFinished", (5, 4, 0, 1), **FINISH) | {"at": 900},
    ]
    history = [
        line("create", "operator", 201, opens_at=1, closes_at=900),
        line("grab", "alice", 201, coupon=alice, at=2),
        line("grab", "alice", 200, coupon=alice, at=3),
        line("grab", "bob", 202, coupon=bob, at=3),
        line("grab", "carol", 0, "TimeoutError", at=4),
        line("grab", "dave", 409, "SOLD_OUT", at=5),
        line("grab", "dave", 503, "STORE_UNAVAILABLE", at=5),
        line("pay", "alice", 200, coupon=alice, number=1, reference="alice's", at=5),
        line("restock", "operator", 200, key="more", at=6),
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
        "ended": [],
        "now": NOW,
    }
    wanted_tables(found)
    return copy.deepcopy(found)


def found_in(evidence: Evidence) -> str:
    return "\n".join(check(evidence).sentences())


def test_a_good_run_passes(evidence: Evidence) -> None:
    assert found_in(evidence) == ""


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
        insert(8, "CouponReleased", (5, 3, 1, 1), **coupon(2, "bob", 3), reason="GIVEN_BACK"),
        "went the wrong way: 1 (RELEASED to RELEASED",
    ),
    "over the limit": (
        insert(7, "CouponGrabbed", (5, 1, 3, 1), **SECOND),
        "a customer over the limit: 1 (alice",
    ),
    "a coupon after the end": (
        insert(11, "CouponGrabbed", (5, 3, 1, 1), **EVE),
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
        "a payment that the journal tells otherwise",
    ),
    "given back but not in the journal": (history(9, customer="alice", number=1), "but not in"),
    "restocked twice": (insert(7, "PromotionRestocked", (7, 4, 2, 1), added=2), "restocks that"),
    "restock answered and lost": (also(what="restock", customer="o", status=200), "restocks that"),
    "cancelled and forgotten": (
        also(what="cancel", customer="operator", status=200),
        "cancelled, but not in the journal",
    ),
    "never started": (
        also(what="create", customer="o", status=201, promotion="q", opens_at=1, closes_at=2),
        "never started: 1 (q)",
    ),
    "never ended": (without("journal", 9), "never ended"),
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
    "a conflict that is none": (
        lambda e: e["conflicts"].append(e["journal"][1]),
        "conflicts: no conflict",
    ),
    "a conflict and no recovery": (
        lambda e: e["conflicts"].append({**e["journal"][1], "at": 99}),
        "no recovery",
    ),
    "a generation without its event": (
        insert(GENERATION + 1, "PromotionRestocked", (5, 4, 0, 1), added=0),
        "a generation without its PromotionRecovered",
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


def recovered(counts: tuple[int, int, int, int], *amends: Any, lost: int = 0) -> Iterator[Any]:
    """A recovery and its amends: (type, coupon, more) each."""
    version = GENERATION + 1
    yield event(version, "PromotionRecovered", counts, reason="WRITES_LOST", lost=lost)
    for place, (type_, told, more) in enumerate(amends, start=1):
        yield event(version + place, type_, counts, **told, **more) | {"at": version}


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
        *recovered(
            (2, 0, 0, 2),
            ("CouponRevoked", bob, {"reason": "RENUMBERED"}),
            ("CouponGrabbed", coupon(3, "bob", 3), {}),
            ("CouponRevoked", eve, {"reason": "SOLD_TWICE"}),
        ),
        event(GENERATION + 5, "PromotionFinished", (2, 0, 0, 2), reason="SOLD_OUT"),
    ]
    found = {
        "history": [
            line("grab", "alice", 201, coupon=alice, at=2),
            line("grab", "bob", 201, coupon=bob, at=3),
            line("grab", "eve", 201, coupon=eve, at=4),
        ],
        "journal": journal,
        "conflicts": [event(2, "CouponGrabbed", (2, 1, 0, 1), **bob)],
        "queues": {},
        "dead": {},
        "poison": {},
        "ended": [],
        "now": NOW,
    }
    wanted_tables(found)
    return copy.deepcopy(found)


def test_a_truthful_recovery_passes(two_stories: Evidence) -> None:
    assert found_in(two_stories) == ""


RECOVERIES: dict[str, tuple[Callable[[Evidence], Any], str]] = {
    "a customer without a record": (
        lambda e: e["journal"].__delitem__(slice(4, 6)),
        "conflicts: a coupon without a record",
    ),
    "sold twice": (without("journal", 6), "a recovery whose counts its coupons do not have"),
    "one number for two": (
        lambda e: (e["journal"][4].update(type="CouponGrabbed"), e["journal"][5].update(number=9)),
        "a number of two customers after a recovery",
    ),
    "over the limit": (
        lambda e: e["journal"][5].update(customerId="alice"),
        "a customer over the limit after a recovery",
    ),
    "one request has two coupons": (
        lambda e: (e["journal"][1].update(requestKey="k"),
                   e["journal"][5].update(customerId="alice", requestKey="k")),
        "several coupons for one request",
    ),
    "a gap that was not told": (without("journal", 1), "does not tell how many versions"),
    "a version under the wrong generation": (journal(7, version=GENERATION + 9), "no recovery"),
    "a payment without a record": (
        lambda e: e["conflicts"].append(
            event(3, "CouponPaid", (2, 0, 0, 2), **coupon(1, "alice", 2))
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
