"""The verdict on a sale: what the customers were told against what the tables hold.

Pure functions: attempts, coupons as the API lists them and journal rows in, a verdict out.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.history import Attempt

# The only ways in which a customer may go home without a coupon.
REFUSALS = frozenset({(409, "SOLD_OUT"), (410, "FINISHED")})
NAMED = 5


@dataclass(frozen=True, slots=True)
class Sold:
    """One coupon as one source has it; `owner` is its customer."""

    coupon_id: str
    number: int
    owner: str


@dataclass(slots=True)
class Verdict:
    """Figures, and every violation as a sentence; without violations the sale was right.

    granted, stored, journaled: coupons in the answers, in the read table, in the journal.
    duplicates: coupons beyond a customer's first, and repeated ids, in the worst source.
    oversold: coupons beyond the stock, in the worst source. lost: coupons that an answer
    promised and the read table or the journal does not have. errors: answers that are neither
    a coupon nor an honest refusal.
    """

    customers: int
    stock: int
    granted: int
    stored: int
    journaled: int
    duplicates: int = 0
    oversold: int = 0
    lost: int = 0
    errors: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when nothing at all is wrong."""
        return not self.violations


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
    sources = {
        "answers": [Sold(a.coupon_id, a.number, a.customer_id) for a in attempts if a.granted],
        "read table": [Sold(c["couponId"], c["number"], c["customerId"]) for c in coupons],
        "journal": [
            Sold(f"{e['promotionId']}-{e['number']}", e["number"], e["customerId"])
            for e in events
            if e["type"] == "CouponGrabbed"
        ],
    }
    granted, stored, journaled = (len(source) for source in sources.values())
    verdict = Verdict(customers, stock, granted, stored, journaled)
    _check_attempts(verdict, attempts)
    for name, source in sources.items():
        _check_source(verdict, name, source)
    _check_agreement(verdict, sources)
    _check_journal(verdict, journal, events)
    left = stock - customers if customers < stock else None
    if available != left:
        _add(verdict, f"promotions on sale: shown with {available} left instead of {left}")
    return verdict


def _check_attempts(verdict: Verdict, attempts: Sequence[Attempt]) -> None:
    """Everyone was answered, once, with a coupon or an honest refusal, and could read it."""
    tries = Counter(attempt.customer_id for attempt in attempts)
    if len(tries) != verdict.customers:
        _add(verdict, f"{verdict.customers} customers were to be served, {len(tries)} were")
    _add_named(
        verdict, "customers tried more than once", (name for name, n in tries.items() if n > 1)
    )
    strange: dict[tuple[int, str], list[str]] = {}
    for attempt in attempts:
        answer = (attempt.status, attempt.code)
        if not attempt.granted and answer not in REFUSALS:
            strange.setdefault(answer, []).append(attempt.customer_id)
    for (status, code), names in strange.items():
        verdict.errors += len(names)
        what = f"{status} {code}" if status else f"no answer ({code})"
        _add_named(verdict, f"unexpected answers, {what}", names)
    refused = [a for a in attempts if (a.status, a.code) in REFUSALS]
    if refused and verdict.granted < verdict.stock:
        _add(verdict, f"{len(refused)} were refused with {verdict.granted} of "
             f"{verdict.stock} coupons granted")  # fmt: skip
    _add_named(
        verdict,
        "granted coupons never became readable",
        (a.coupon_id for a in attempts if a.granted and a.visible_ms is None),
    )


def _check_source(verdict: Verdict, name: str, source: Sequence[Sold]) -> None:
    """One source by itself: as many as there should be, numbered 1 to n, nobody twice."""
    expected = min(verdict.customers, verdict.stock)
    if len(source) != expected:
        _add(verdict, f"{name}: {len(source)} coupons instead of {expected}")
    over = max(0, len(source) - verdict.stock)
    if over:
        verdict.oversold = max(verdict.oversold, over)
        _add(verdict, f"{name}: coupons oversold: {over}")
    ids = _repeated(sold.coupon_id for sold in source)
    owners = _repeated(sold.owner for sold in source)
    verdict.duplicates = max(verdict.duplicates, sum(ids.values()), sum(owners.values()))
    _add_named(verdict, f"{name}: coupon ids that appear more than once", ids)
    _add_named(verdict, f"{name}: customers with more than one coupon", owners)
    _add_gaps(verdict, f"{name}: numbers", [sold.number for sold in source])
    _add_named(
        verdict,
        f"{name}: coupons whose id does not end with their number",
        (sold.coupon_id for sold in source if not sold.coupon_id.endswith(f"-{sold.number}")),
    )


def _check_agreement(verdict: Verdict, sources: Mapping[str, Sequence[Sold]]) -> None:
    """What was answered is in the read table and in the journal, and nothing else is."""
    answered = {sold.coupon_id: sold for sold in sources["answers"]}
    missing: set[str] = set()
    for name in ("read table", "journal"):
        kept = {sold.coupon_id: sold for sold in sources[name]}
        gone = [coupon for coupon in answered if coupon not in kept]
        missing.update(gone)
        _add_named(verdict, f"{name}: answered coupons are missing", gone)
        _add_named(
            verdict,
            f"{name}: coupons that no answer promised",
            (coupon for coupon in kept if coupon not in answered),
        )
        _add_named(
            verdict,
            f"{name}: coupons of another customer than was answered",
            (c for c, sold in kept.items() if c in answered and answered[c].owner != sold.owner),
        )
    verdict.lost = len(missing)


def _check_journal(
    verdict: Verdict, journal: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> None:
    """The journal by itself: versions 1 to n, a start, an end if sold out, sums that hold."""
    rows = sorted(zip(journal, events, strict=True), key=lambda pair: int(pair[0]["version"]))
    _add_gaps(verdict, "journal: versions", [int(row["version"]) for row, _ in rows])
    _add_named(
        verdict,
        "journal: rows that differ from their event, versions",
        (
            str(row["version"])
            for row, event in rows
            if any(row[key] != event[key] for key in ("promotionId", "version", "type", "at"))
        ),
    )
    _add_named(
        verdict,
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
        _add(verdict, "journal: PromotionStarted is not the first event, once")
    ends = int(verdict.customers >= verdict.stock)
    if types.count("PromotionFinished") != ends or (ends and types[-1:] != ["PromotionFinished"]):
        _add(verdict, f"journal: PromotionFinished is not the last event, {ends} times")


def _repeated(values: Iterable[str]) -> dict[str, int]:
    """Each value that appears more than once, and how often beyond the first."""
    return {value: n - 1 for value, n in Counter(values).items() if n > 1}


def _add_gaps(verdict: Verdict, what: str, numbers: Sequence[int]) -> None:
    missing = set(range(1, max(numbers, default=0) + 1)).difference(numbers)
    _add_named(verdict, f"{what} missing", (str(number) for number in sorted(missing)))


def _add_named(verdict: Verdict, what: str, names: Iterable[str]) -> None:
    """One sentence for all of a kind, with the first few by name; none where there are none."""
    found = list(names)
    if found:
        more = ", ..." if len(found) > NAMED else ""
        _add(verdict, f"{what}: {len(found)} ({', '.join(found[:NAMED])}{more})")


def _add(verdict: Verdict, violation: str) -> None:
    verdict.violations.append(violation)
