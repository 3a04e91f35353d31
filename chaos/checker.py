"""What a run left behind, judged: pure, and independent of the code under test.

Plain dicts in, violations out. The evidence:

    history     requests and answers, one dict each, see client.py
    journal     events as they were published
    conflicts   events that came under a version the journal already had
    coupons     rows of the coupons table
    active      rows of the active promotions table
    store       promotionId -> state, version, stock, available, sold, waiting (in its
                outbox), and if known coupons: "<number> <customer>" -> state
    queues      queue -> messages in it, of any kind
    dead        queue -> bodies in its dead-letter queue
    poison      queue -> bodies that were put into it
    unsettled   conflicts that nobody has dealt with
    ended       parts of the system that ended by themselves
    now         epoch ms of the evidence
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from chaos.findings import Findings
from chaos.fold import fold
from chaos.folded import Event, Folded, state_of
from chaos.promises import check_promises

Row = Mapping[str, Any]

# Row of the coupons table <- its newest event.
_COUPON = ("promotionId", "customerId", "number", "version", "discount", "grabbedAt", "deadline",
           "price", "paidAt", "paymentReference", "movedTo", "reason")  # fmt: skip
# Row of the active promotions table <- the newest start or recovery; and <- the newest event.
_OFFER = {
    "discount": "discount", "publishTime": "opensAt", "finishTime": "closesAt",
    "couponsPerCustomer": "couponsPerCustomer", "holdSeconds": "holdSeconds",
    "itemId": "itemId", "price": "price", "admission": "admission",
}  # fmt: skip
_COUNTS = ("version", "stock", "available", "held", "sold")


def check(evidence: Mapping[str, Any]) -> Findings:
    """Judge a run."""
    findings = Findings()
    by_promotion: dict[str, list[Event]] = defaultdict(list)
    for event in evidence["journal"]:
        by_promotion[event["promotionId"]].append(event)
    conflicts: dict[str, list[Event]] = defaultdict(list)
    for event in evidence["conflicts"]:
        conflicts[event["promotionId"]].append(event)
    sales = {
        name: fold(name, events, findings, conflicts.get(name, ()))
        for name, events in by_promotion.items()
    }
    check_promises(evidence["history"], sales, evidence["now"], findings)
    _check_conflicts(evidence["conflicts"], by_promotion, sales, findings)
    _check_coupons(evidence["coupons"], sales, findings)
    _check_active(evidence["active"], sales, findings)
    _check_store(evidence["store"], sales, findings)
    for queue, depth in evidence["queues"].items():
        if depth:
            findings.add("queues: messages left", f"{depth} in {queue}")
    _check_dead(evidence["dead"], evidence["poison"], findings)
    for conflict in evidence["unsettled"]:
        findings.add("conflicts: nobody has settled one", conflict)
    for part in evidence["ended"]:
        findings.add("parts: ended by themselves", part)
    return findings


def _check_conflicts(
    conflicts: Iterable[Event],
    journal: Mapping[str, Iterable[Event]],
    sales: Mapping[str, Folded],
    findings: Findings,
) -> None:
    """Each is an event that the journal has no room for; nobody in it is left without a word."""
    for event in conflicts:
        name = f"{event['type']} of {event['promotionId']} version {event['version']}"
        kept = [
            e for e in journal.get(event["promotionId"], ()) if e["version"] == event["version"]
        ]
        if not kept or event in kept:
            findings.add("conflicts: no conflict", name)
            continue
        sale = sales[event["promotionId"]]
        if event["type"] == "PromotionRestocked" and event["requestKey"] not in sale.restocks:
            findings.add("conflicts: a restock without a record", name)
        if event["type"] == "PromotionCancelled" and sale.state != "CANCELLED":
            findings.add("conflicts: a cancellation without a record", name)
        if "customerId" not in event:
            continue
        coupon = (event["customerId"], event["number"])
        if coupon not in sale.coupons:
            findings.add("conflicts: a coupon without a record", f"{coupon}, {name}")
        elif event["type"] in ("CouponPaid", "RefundRecorded") and not any(
            told.get("paymentReference") == event.get("paymentReference")
            and told["type"] in ("CouponPaid", "RefundRecorded")
            for told in sale.life(coupon)
        ):
            findings.add("conflicts: a payment without a record", f"{coupon}, {name}")


def _check_coupons(rows: Iterable[Row], sales: Mapping[str, Folded], findings: Findings) -> None:
    """The coupons table is the newest event of each coupon."""
    expected = {
        (customer, f"{sale.promotion_id}-{number}"): event
        for sale in sales.values()
        for (customer, number), event in sale.coupons.items()
    }
    stored = {(row["customerId"], row["coupon"]): row for row in rows}
    for key in expected.keys() - stored.keys():
        findings.add("coupons table: a coupon is missing", " ".join(key))
    for key in stored.keys() - expected.keys():
        findings.add("coupons table: a coupon that the journal does not have", " ".join(key))
    for key in expected.keys() & stored.keys():
        event, row = expected[key], stored[key]
        wanted = {name: event.get(name) for name in _COUPON} | {"state": state_of(event)}
        for name, value in wanted.items():
            if row.get(name) != value:
                told = f"{' '.join(key)} {name} {row.get(name)} instead of {value}"
                findings.add("coupons table: differs from the journal", told)


def _check_active(rows: Iterable[Row], sales: Mapping[str, Folded], findings: Findings) -> None:
    """The active promotions table is the newest offer and the counts of the newest event."""
    stored = {row["promotionId"]: row for row in rows}
    for name in sales.keys() ^ stored.keys():
        findings.add("active promotions table: not the promotions of the journal", name)
    for name in sales.keys() & stored.keys():
        sale, row = sales[name], stored[name]
        wanted: dict[str, Any] = {"state": sale.state}
        if sale.offer:
            wanted |= {to: sale.offer.get(source) for to, source in _OFFER.items()}
        if sale.newest:
            wanted |= {count: sale.newest[count] for count in _COUNTS}
        for field, value in wanted.items():
            if row.get(field) != value:
                told = f"{name} {field} {row.get(field)} instead of {value}"
                findings.add("active promotions table: differs from the journal", told)


def _check_store(store: Mapping[str, Row], sales: Mapping[str, Folded], findings: Findings) -> None:
    """The store has what the journal has; it may have forgotten what is over, and nothing waits."""
    for name, counts in store.items():
        if counts["waiting"]:
            findings.add("store: events left in an outbox", f"{counts['waiting']} of {name}")
        if name in sales:
            _check_standing(counts, sales[name], findings)
        elif counts["version"]:
            findings.add("store: a promotion that the journal does not have", name)
    for name, sale in sales.items():
        if name not in store and not sale.ended:
            findings.add("store: a promotion on sale is missing", name)


def _check_standing(counts: Row, sale: Folded, findings: Findings) -> None:
    """One promotion in the store: its newest event's counts, its state, its coupons."""
    newest = sale.newest or {}
    wanted = {count: newest[count] for count in ("version", "stock", "available", "sold")}
    wanted["state"] = sale.state
    for field, value in wanted.items():
        if counts[field] != value:
            told = f"{sale.promotion_id} {field} {counts[field]} instead of {value}"
            findings.add("store: differs from the journal", told)
    if counts.get("coupons") is not None:
        _check_owned(counts["coupons"], sale, findings)


def _check_owned(owned: Mapping[str, str], sale: Folded, findings: Findings) -> None:
    wanted = {f"{number} {name}": state_of(e) for (name, number), e in sale.coupons.items()}
    for key in sorted(owned.keys() | {k for k, state in wanted.items() if state != "REVOKED"}):
        if owned.get(key) != wanted.get(key):
            findings.add("store: a coupon differs from the journal",
                         f"{sale.promotion_id} {key} {owned.get(key)} instead of"
                         f" {wanted.get(key)}")  # fmt: skip


def _check_dead(
    dead: Mapping[str, Iterable[str]], poison: Mapping[str, Iterable[str]], findings: Findings
) -> None:
    """The dead-letter queues hold all of the poison, and nothing else."""
    for queue in dead.keys() | poison.keys():
        found, put = Counter(dead.get(queue, ())), Counter(poison.get(queue, ()))
        # A broker that repeats messages repeats poison too.
        for body in found.keys() - put.keys():
            findings.add("dead letters: a good message", f"{queue}: {body[:120]}")
        for body in put - found:
            findings.add("dead letters: poison that is not there", f"{queue}: {body[:120]}")
