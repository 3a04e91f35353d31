"""The verdict on a sale: what the customers were told against what the tables hold.

Pure functions: attempts, coupons as the API lists them and journal rows in, a verdict out.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from demo.history import Attempt
from demo.verdict import REFUSALS, Sold, Verdict, repeated


def verify(
    customers: int,
    stock: int,
    attempts: Sequence[Attempt],
    coupons: Sequence[Mapping[str, Any]],
    journal: Sequence[Mapping[str, Any]],
    available: int | None,
) -> Verdict:
    """Judge one promotion in which each of `customers` tried once to get one of `stock` coupons.

    Args:
        customers: how many there were.
        stock: how many coupons there were.
        attempts: every customer's attempt.
        coupons: the promotion's coupons, as `GET /query/promotions/{id}/coupons` lists them.
        journal: the promotion's rows in the events table: promotionId, version, type, at, event.
        available: what the API shows as left; None where the promotion is not shown as on sale.
    """
    events = [json.loads(row["event"]) for row in journal]
    sources = sources_of(attempts, coupons, events)
    granted, stored, journaled = (len(source) for source in sources.values())
    verdict = Verdict(customers, stock, granted, stored, journaled)
    _check_attempts(verdict, attempts)
    for name, source in sources.items():
        _check_source(verdict, name, source)
    check_agreement(verdict, sources)
    types = [str(event["type"]) for event in check_rows(verdict, journal, events)]
    ends = int(customers >= stock)
    if types.count("PromotionFinished") != ends or (ends and types[-1:] != ["PromotionFinished"]):
        verdict.add(f"journal: PromotionFinished is not the last event, {ends} times")
    left = stock - customers if customers < stock else None
    if available != left:
        verdict.add(f"promotions on sale: shown with {available} left instead of {left}")
    return verdict


def sources_of(
    attempts: Sequence[Attempt],
    coupons: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
) -> dict[str, list[Sold]]:
    """The granted coupons as the answers, the read table and the journal have them."""
    return {
        "answers": [Sold(a.coupon_id, a.number, a.customer_id) for a in attempts if a.granted],
        "read table": [Sold(c["couponId"], c["number"], c["customerId"]) for c in coupons],
        "journal": [
            Sold(f"{e['promotionId']}-{e['number']}", e["number"], e["customerId"])
            for e in events
            if e["type"] == "CouponGrabbed"
        ],
    }


def _check_attempts(verdict: Verdict, attempts: Sequence[Attempt]) -> None:
    """Everyone was served, once, and honestly."""
    tries = Counter(attempt.customer_id for attempt in attempts)
    if len(tries) != verdict.customers:
        verdict.add(f"{verdict.customers} customers were to be served, {len(tries)} were")
    verdict.add_named(
        "customers tried more than once", (name for name, n in tries.items() if n > 1)
    )
    check_answers(verdict, attempts)


def check_answers(verdict: Verdict, attempts: Sequence[Attempt]) -> None:
    """A coupon that could be read, or an honest refusal: nothing else is an answer."""
    verdict.add_strange(
        (a.status, a.code, a.customer_id)
        for a in attempts
        if not a.granted and (a.status, a.code) not in REFUSALS
    )
    refused = [a for a in attempts if (a.status, a.code) in REFUSALS]
    if refused and verdict.granted < verdict.stock:
        verdict.add(f"{len(refused)} were refused with {verdict.granted} of "
             f"{verdict.stock} coupons granted")  # fmt: skip
    verdict.add_named(
        "granted coupons never became readable",
        (a.coupon_id for a in attempts if a.granted and a.visible_ms is None),
    )


def _check_source(verdict: Verdict, name: str, source: Sequence[Sold]) -> None:
    """One source by itself: as many as there should be, numbered 1 to n, nobody twice."""
    expected = min(verdict.customers, verdict.stock)
    if len(source) != expected:
        verdict.add(f"{name}: {len(source)} coupons instead of {expected}")
    over = max(0, len(source) - verdict.stock)
    if over:
        verdict.oversold = max(verdict.oversold, over)
        verdict.add(f"{name}: coupons oversold: {over}")
    owners = repeated(sold.owner for sold in source)
    verdict.duplicates = max(verdict.duplicates, sum(owners.values()))
    verdict.add_named(f"{name}: customers with more than one coupon", owners)
    check_numbers(verdict, name, source)


def check_numbers(verdict: Verdict, name: str, source: Sequence[Sold]) -> None:
    """One source by itself: every id once, numbered 1 to n."""
    ids = repeated(sold.coupon_id for sold in source)
    verdict.duplicates = max(verdict.duplicates, sum(ids.values()))
    verdict.add_named(f"{name}: coupon ids that appear more than once", ids)
    verdict.add_gaps(f"{name}: numbers", [sold.number for sold in source])
    verdict.add_named(
        f"{name}: coupons whose id does not end with their number",
        (sold.coupon_id for sold in source if not sold.coupon_id.endswith(f"-{sold.number}")),
    )


def check_agreement(verdict: Verdict, sources: Mapping[str, Sequence[Sold]]) -> None:
    """What was answered is in the read table and in the journal, and nothing else is."""
    answered = {sold.coupon_id: sold for sold in sources["answers"]}
    missing: set[str] = set()
    for name in ("read table", "journal"):
        kept = {sold.coupon_id: sold for sold in sources[name]}
        gone = [coupon for coupon in answered if coupon not in kept]
        missing.update(gone)
        verdict.add_named(f"{name}: answered coupons are missing", gone)
        verdict.add_named(
            f"{name}: coupons that no answer promised",
            (coupon for coupon in kept if coupon not in answered),
        )
        verdict.add_named(
            f"{name}: coupons of another customer than was answered",
            (c for c, sold in kept.items() if c in answered and answered[c].owner != sold.owner),
        )
    verdict.lost = len(missing)


def check_rows(
    verdict: Verdict, journal: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The journal's rows: versions 1 to n, a start, sums that hold; the events in their order."""
    rows = sorted(zip(journal, events, strict=True), key=lambda pair: int(pair[0]["version"]))
    verdict.add_gaps("journal: versions", [int(row["version"]) for row, _ in rows])
    verdict.add_named(
        "journal: rows that differ from their event, versions",
        (
            str(row["version"])
            for row, event in rows
            if any(row[key] != event[key] for key in ("promotionId", "version", "type", "at"))
        ),
    )
    verdict.add_named(
        "journal: events whose stock is not available + held + sold, versions",
        (
            str(event["version"])
            for _, event in rows
            if event["available"] < 0
            or event["stock"] != event["available"] + event["held"] + event["sold"]
        ),
    )
    types = [str(event["type"]) for _, event in rows]
    if types[:1] != ["PromotionStarted"] or types.count("PromotionStarted") != 1:
        verdict.add("journal: PromotionStarted is not the first event, once")
    return [event for _, event in rows]
