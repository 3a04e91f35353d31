"""What customers and the operator were told, against what the journal has. Pure, as checker.py."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chaos.findings import Findings
from chaos.folded import CouponKey, Folded, state_of

Line = Mapping[str, Any]

# One machine, one clock, whole milliseconds; a request is stamped just before it is sent.
TOLERANCE_MS = 50
GRANTED = (201, 202)
GOOD = (200, 201, 202)
BAD = 400
SERVER_ERROR = 500
UNAVAILABLE = 503
_REFUSALS: dict[str, set[tuple[int, str]]] = {
    "item": set(),
    "create": set(),
    "restock": {(409, "SOLD_OUT"), (410, "FINISHED"), (410, "CANCELLED")},
    "cancel": {(409, "SOLD_OUT"), (410, "FINISHED")},
    "grab": {
        (403, "NOT_STARTED"),
        (409, "SOLD_OUT"),
        (409, "LIMIT_REACHED"),
        (410, "FINISHED"),
        (410, "CANCELLED"),
    },
    "pay": {
        (404, "UNKNOWN_COUPON"),
        (409, "ALREADY_PAID"),
        (409, "HOLD_EXPIRED"),
        (409, "COUPON_RELEASED"),
        (409, "REVOKED"),
        (410, "CANCELLED"),
    },
    "give_back": {
        (404, "UNKNOWN_COUPON"),
        (409, "ALREADY_PAID"),
        (409, "REFUND_DUE"),
        (409, "REVOKED"),
    },
}


def check_promises(
    history: Iterable[Line], sales: Mapping[str, Folded], now_ms: int, findings: Findings
) -> None:
    """Hold every answer against the journal, and every coupon against the requests."""
    by_what: dict[str, list[Line]] = defaultdict(list)
    for line in history:
        by_what[line["what"]].append(line)
        _check_answer(line, findings)
    made: dict[str, str] = {}
    for line in by_what["create"]:
        _check_created(line, sales, now_ms, findings)
        name = line["promotion"]
        if line["status"] in GOOD and made.setdefault(line["key"] or name, name) != name:
            findings.add("promotions: one key made two", name)
    _check_asked_for_promotions(by_what["create"], sales, findings)
    for name, sale in sales.items():
        grabs = [line for line in by_what["grab"] if line["promotion"] == name]
        _check_grabs(grabs, sale, findings)
        _check_refusals(grabs, sale, findings)
        _check_asked_for(grabs, sale, findings)
        _check_keys(grabs, sale, findings)
        _check_payments([line for line in by_what["pay"] if line["promotion"] == name], sale,
                        findings)  # fmt: skip
        _check_returns([line for line in by_what["give_back"] if line["promotion"] == name], sale,
                       findings)  # fmt: skip
        _check_restocks([line for line in by_what["restock"] if line["promotion"] == name], sale,
                        findings)  # fmt: skip
        _check_cancelled([line for line in by_what["cancel"] if line["promotion"] == name], sale,
                         findings)  # fmt: skip


def unanswered(line: Line) -> bool:
    """True when nobody can tell from the answer whether the request was done."""
    lost = line["status"] == 0 and line["code"] != "NOT_SENT"
    return bool(lost or line["status"] >= SERVER_ERROR)


def _name(line: Line) -> str:
    return (f"{line['what']} of {line['promotion']} by {line['customer']} at {line['started']}: "
            f"{line['status']} {line['code']}")  # fmt: skip


def _check_answer(line: Line, findings: Findings) -> None:
    status = line["status"]
    # Asked for so late that it is over by its own words.
    late = line["what"] == "create" and status == BAD and line["closes_at"] <= line["ended"]
    if (
        late
        or status in (0, UNAVAILABLE, *GOOD)
        or (status, line["code"]) in _REFUSALS[line["what"]]
    ):
        return
    findings.add("answers: one that nobody should hear", _name(line))


def _check_created(
    line: Line, sales: Mapping[str, Folded], now_ms: int, findings: Findings
) -> None:
    if line["status"] not in GOOD:
        return
    sale = sales.get(line["promotion"])
    if sale is None or sale.state == "SCHEDULED":
        if line["opens_at"] < now_ms:
            findings.add("promotions: never started", line["promotion"])
    elif sale.ended is None and line["closes_at"] < now_ms:
        findings.add("promotions: never ended", line["promotion"])


def _check_asked_for_promotions(
    lines: Sequence[Line], sales: Mapping[str, Folded], findings: Findings
) -> None:
    """Each promotion was answered, or is that of a request which nobody was answered."""
    known = {line["promotion"] for line in lines}
    answered = {line["key"] for line in lines if line["status"] in GOOD}
    maybe = {line["key"] for line in lines if unanswered(line)} - answered
    unknown = sorted(sales.keys() - known)
    if len(unknown) > len(maybe):
        findings.add("promotions: one that nobody asked for", ", ".join(unknown))


def _check_grabs(grabs: Iterable[Line], sale: Folded, findings: Findings) -> None:
    """Every coupon that was told is the customer's, and was told as new only once."""
    granted: set[CouponKey] = set()
    for line in grabs:
        if line["status"] not in GOOD:
            continue
        coupon = line["coupon"]
        key = (line["customer"], coupon["number"])
        if coupon["couponId"] != f"{sale.promotion_id}-{coupon['number']}" or (
            coupon["customerId"], coupon["promotionId"]
        ) != (line["customer"], sale.promotion_id):  # fmt: skip
            findings.add("answers: somebody else's coupon", _name(line))
        if key not in sale.coupons:
            findings.add("answers: a coupon that the journal does not have",
                         f"{coupon['couponId']}, {_name(line)}")  # fmt: skip
        elif not sale.generations and coupon["grabbedAt"] != sale.coupons[key]["grabbedAt"]:
            findings.add("answers: another coupon than the journal's", _name(line))
        if line["status"] not in GRANTED:
            continue
        if key in granted and not sale.generations:
            findings.add("answers: a coupon was granted twice", _name(line))
        granted.add(key)
        earliest, latest = line["started"] - TOLERANCE_MS, line["ended"] + TOLERANCE_MS
        if not earliest <= coupon["grabbedAt"] <= latest:
            findings.add("answers: granted at another time than it was asked for", _name(line))


def _check_refusals(grabs: Sequence[Line], sale: Folded, findings: Findings) -> None:
    """Too early, too late and too many are told only when they are true.

    A coupon whose event was lost before anybody was told of it has counted too, as long as the
    store knew it: it is one of the customer's requests without an answer.
    """
    offer = sale.offer
    if offer is None:
        return
    had = Counter(customer for (customer, _), e in sale.coupons.items() if "movedTo" not in e)
    if sale.missing:
        unheard = {(line["customer"], line["key"]) for line in grabs if unanswered(line)}
        heard = {(line["customer"], line["key"]) for line in grabs if line["coupon"]}
        had.update(customer for customer, _ in unheard - heard)
    first_cancelled = math.inf if sale.cancelled_at is None else sale.cancelled_at
    sold_out_at = math.inf if sale.sold_out_at is None else sale.sold_out_at
    for line in grabs:
        code = line["code"]
        until = line["ended"] + TOLERANCE_MS
        false = (
            (code == "NOT_STARTED" and line["started"] > offer["opensAt"] + TOLERANCE_MS)
            or (code == "FINISHED" and until < offer["closesAt"])
            or (code == "CANCELLED" and until < first_cancelled)
            or (code == "SOLD_OUT" and until < sold_out_at and not sale.generations
                and not sale.missing)
            or (code == "LIMIT_REACHED" and had[line["customer"]] < offer["couponsPerCustomer"])
        )  # fmt: skip
        if false and line["status"] != UNAVAILABLE:
            findings.add("answers: a refusal that was not true", _name(line))


def _check_asked_for(grabs: Iterable[Line], sale: Folded, findings: Findings) -> None:
    """Every coupon has an answer, or a request without one that was sent before it."""
    told: set[CouponKey] = set()
    answered: set[tuple[str, str]] = set()
    open_: dict[str, dict[str, float]] = defaultdict(dict)
    for line in grabs:
        customer, key = line["customer"], line["key"]
        if line["coupon"]:
            told.add((customer, line["coupon"]["number"]))
            answered.add((customer, key or ""))
        elif unanswered(line):
            # With a key all requests of it are one; without, each may have had its own coupon.
            request = key or str(len(open_[customer]))
            started = open_[customer].get(request, line["started"])
            open_[customer][request] = min(started, line["started"])
    moved = {(c, e["movedTo"]) for (c, _), e in sale.coupons.items() if "movedTo" in e}
    untold: dict[str, list[int]] = defaultdict(list)
    for key in sale.coupons.keys() - moved:
        if told.isdisjoint(sale.chain(key)):
            untold[key[0]].append(sale.coupons[key]["grabbedAt"])
    for customer, times in untold.items():
        starts = sorted(
            started for key, started in open_[customer].items() if (customer, key) not in answered
        )
        for position, at in enumerate(sorted(times)):
            if len(starts) <= position or starts[position] > at + TOLERANCE_MS:
                findings.add("journal: a coupon that nobody asked for",
                             f"{sale.promotion_id} of {customer} at {at}")  # fmt: skip


def _check_keys(grabs: Iterable[Line], sale: Folded, findings: Findings) -> None:
    """One request has one coupon, and one coupon has one request."""
    asked: dict[tuple[str, int, int], set[str]] = defaultdict(set)
    for line in grabs:
        if line["key"] and line["coupon"]:
            coupon = line["coupon"]
            asked[line["customer"], coupon["number"], coupon["grabbedAt"]].add(line["key"])
    for (customer, number, _), keys in asked.items():
        if len(keys) > 1:
            told = f"{sale.promotion_id} {number} of {customer}: {', '.join(sorted(keys))}"
            findings.add("answers: one coupon for several requests", told)
    had: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (customer, number), event in sale.coupons.items():
        if "requestKey" in event and state_of(event) != "REVOKED":
            had[customer, event["requestKey"]].append(number)
    for (customer, key), numbers in had.items():
        if len(numbers) > 1:
            findings.add("journal: several coupons for one request",
                         f"{sale.promotion_id} {numbers} of {customer}, {key}")  # fmt: skip


def _check_payments(lines: Iterable[Line], sale: Folded, findings: Findings) -> None:
    """Money has moved: the coupon is paid, or a refund is on record; never neither, never both."""
    last: dict[tuple[CouponKey, str], Line] = {}
    for line in sorted(lines, key=lambda line: float(line["ended"])):
        if line["status"] and not unanswered(line):
            last[(line["customer"], line["number"]), line["reference"]] = line
    for (coupon, reference), line in last.items():
        if line["code"] == "UNKNOWN_COUPON":
            if coupon in sale.coupons:
                findings.add("answers: a coupon that is there was unknown", _name(line))
        else:
            _check_payment(coupon, reference, line, sale, findings)
    sent = {line["reference"] for line in lines}
    for (customer, number), event in sale.coupons.items():
        if event.get("paymentReference", "") not in {"", *sent}:
            findings.add("journal: another payment reference than was sent",
                         f"{sale.promotion_id} {number} of {customer}")  # fmt: skip


def _check_payment(
    coupon: CouponKey, reference: str, last: Line, sale: Folded, findings: Findings
) -> None:
    record = sale.record(coupon) or {}
    paid = record.get("type") == "CouponPaid" and record.get("paymentReference") == reference
    refunded = any(
        e["type"] == "RefundRecorded" and e.get("paymentReference") == reference
        for e in sale.life(coupon)
    )
    if paid and refunded:
        findings.add("journal: a payment that is taken, and to be given back", _name(last))
    if last["code"] == "ALREADY_PAID":
        settled = record.get("type") == "CouponPaid" and not paid and sale.generations > 0
    elif sale.generations:  # what was told may have become the other one, by a recovery
        settled = paid or refunded
    else:
        settled = paid if last["status"] in GOOD else refunded
    if not settled:
        findings.add("answers: a payment that the journal tells otherwise", _name(last))


def _check_returns(lines: Iterable[Line], sale: Folded, findings: Findings) -> None:
    """What was given back is the customer's no more."""
    for line in lines:
        states = {state_of(e) for e in sale.life((line["customer"], line["number"]))}
        if line["status"] in GOOD and states.isdisjoint(("RELEASED", "REVOKED", "REFUND_DUE")):
            findings.add("answers: given back, but not in the journal", _name(line))


def _check_restocks(lines: Sequence[Line], sale: Folded, findings: Findings) -> None:
    """Each key that was answered has added its units once; the others once or not at all."""
    done = {line["key"]: line["added"] for line in lines if line["status"] in GOOD}
    sent = {line["key"]: line["added"] for line in lines}
    if not done.items() <= sale.restocks.items() <= sent.items():
        findings.add("journal: restocks that differ from the answers",
                     f"{sale.promotion_id}: {sale.restocks} in the journal, {done} answered, "
                     f"{sent} sent")  # fmt: skip


def _check_cancelled(lines: Sequence[Line], sale: Folded, findings: Findings) -> None:
    if sale.state != "CANCELLED" and any(line["status"] in GOOD for line in lines):
        findings.add("answers: cancelled, but not in the journal", sale.promotion_id)
    if sale.state == "CANCELLED" and not any(
        unanswered(ln) or ln["status"] in GOOD for ln in lines
    ):
        findings.add("journal: cancelled, and nobody wanted it", sale.promotion_id)
