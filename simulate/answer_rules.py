"""Every yes has a record: what customers were answered, against the journal."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from simulate.case import GOOD_GRAB, Case
from simulate.evidence import Answer, CouponKey, Row
from simulate.fold import ACTIVE, name, state_of

_PAID = ("PAID", "REPEATED")
# A payment that was answered so has been taken, and is to be given back.
_REFUNDED = ("HOLD_EXPIRED", "COUPON_RELEASED", "REVOKED", "CANCELLED")


def _grabs(case: Case) -> Iterator[str]:
    """A coupon that was answered is on record, and its record is true."""
    for answer in case.answers("grab"):
        if answer.outcome not in GOOD_GRAB or answer.coupon is None:
            continue
        key = (answer.who, answer.coupon["number"])
        record = case.record(key)
        if record is None:
            yield f"step {answer.first}: coupon {key} has no record"
            continue
        wrong = _untrue(case, key, record)
        if wrong:
            yield f"step {answer.first}: coupon {key}: {wrong}"
        if not case.evidence.set_back and record["grabbedAt"] != answer.coupon["grabbedAt"]:
            yield f"step {answer.first}: coupon {key}: grabbed at another time"


def _untrue(case: Case, key: CouponKey, record: Row) -> str:
    """What is not true of a coupon's last record; empty where it is true."""
    state, reason = state_of(record), record.get("reason")
    if state == "GRABBED" and record.get("deadline") is not None:
        return f"{name(record)}: still held at the end"
    if state == "RELEASED" and record.get("deadline") is None:
        return f"{name(record)}: it was final, and was released"
    if reason == "GIVEN_BACK" and not case.requests_for("give back", key):
        return f"{name(record)}: nobody gave it back"
    if reason == "CANCELLED" and not case.answers("cancel"):
        return f"{name(record)}: nobody cancelled the promotion"
    if state in ("PAID", "REFUND_DUE"):
        sent = {answer.asked["reference"] for answer in case.requests_for("pay", key)}
        for place in _others(case, key):
            sent |= {a.asked["reference"] for a in case.requests_for("pay", place)} - {None}
        if record.get("paymentReference") not in sent:
            return f"{name(record)}: nobody sent this payment"
    if state == "REVOKED":
        return _untrue_revocation(case, record)
    return ""


def _untrue_revocation(case: Case, record: Row) -> str:
    """Revoked: only after the store had forgotten something, and with no unit left for them."""
    if not case.evidence.set_back:
        return f"{name(record)}: the store had forgotten nothing"
    if record.get("reason") == "RENUMBERED":
        return f"{name(record)}: its new number is nowhere"
    then = case.after_recovery(record)
    others = sum(event["customerId"] == record["customerId"] for event in then.active)
    if record["available"] > 0 and others < then.limit:
        return f"{name(record)}: {record['available']} units were left"
    return ""


def _payments(case: Case) -> Iterator[str]:
    """A payment that was taken is on record, as paid or as a refund, with its reference."""
    for answer in case.answers("pay"):
        key = (answer.who, answer.number)
        record = case.record(key)
        if answer.outcome in _PAID:
            others = _others(case, key) if answer.asked["reference"] else []
            if not any(_has_payment(case, place, answer) for place in [key, *others]):
                shown = name(record) if record else "nothing"
                yield f"step {answer.first}: {_payment(answer)} was taken, on record is {shown}"
        elif answer.outcome in _REFUNDED and not _has_payment(case, key, answer):
            yield f"step {answer.first}: {_payment(answer)} was refused, no refund is on record"


def _others(case: Case, key: CouponKey) -> list[CouponKey]:
    """The customer's other coupons where one number may have been granted twice."""
    if not any(event["type"] == "PromotionRecovered" for event in case.evidence.journal):
        return []
    return [other for other in case.folded.coupons if other[0] == key[0] and other != key]


def _has_payment(case: Case, key: CouponKey, answer: Answer) -> bool:
    return _is_paid(case.record(key), answer) or _is_refunded(case, key, answer)


def _payment(answer: Answer) -> str:
    return f"{answer.asked['reference']} for {(answer.who, answer.number)} ({answer.outcome})"


def _is_paid(record: Row | None, answer: Answer) -> bool:
    reference = answer.asked["reference"]
    if record is None or state_of(record) != "PAID":
        return False
    return reference is None or reference == record.get("paymentReference")


def _is_refunded(case: Case, key: CouponKey, answer: Answer) -> bool:
    reference = answer.asked["reference"]
    return any(
        "Refund" in event["type"] and reference in (None, event.get("paymentReference"))
        for event in case.events_of(key)
    )


def _one_end_of_a_payment(case: Case) -> Iterator[str]:
    """No payment is both taken and refunded, under the numbers a coupon has had."""
    for key in case.successors:
        ends: dict[str, set[str]] = defaultdict(set)
        for member in case.chain(key):
            record = case.folded.coupons.get(member)
            if record is not None and record.get("paymentReference"):
                ends[record["paymentReference"]].add(state_of(record))
        for reference, states in ends.items():
            if {"PAID", "REFUND_DUE"} <= states:
                yield f"{reference} of {key}"


def _returns(case: Case) -> Iterator[str]:
    """A coupon that was given back is not the customer's any more, unless money has moved.

    They may have paid later; or before, and the store had forgotten it when they gave it back.
    """
    last: dict[CouponKey, Answer] = {}
    for answer in [*case.answers("give back"), *case.answers("pay")]:
        key = (answer.who, answer.number)
        if key not in last or answer.first > last[key].first:
            last[key] = answer
    for key, answer in last.items():
        if answer.what != "give back" or answer.outcome not in ("RELEASED", "REPEATED"):
            continue
        record = case.record(key)
        if record is None:
            yield f"step {answer.first}: coupon {key} has no record"
        elif state_of(record) == "GRABBED" or (
            state_of(record) == "PAID" and not case.evidence.set_back
        ):
            yield f"step {answer.first}: coupon {key} was given back, on record is {name(record)}"


def _winners(case: Case) -> Iterator[str]:
    """While the store forgets nothing, who has a coupon, and may have one, is answered with it."""
    if case.evidence.set_back or case.folded.limit != 1:
        return
    for answer in case.answers("grab"):
        if answer.outcome in (*GOOD_GRAB, "", "UNKNOWN", "IDEMPOTENCY_KEY_REUSED"):
            continue
        for (customer, _), life in case.lives.items():
            grabbed = [e for e in life if state_of(e) in ACTIVE and e["at"] < answer.began]
            gone = [e for e in life if state_of(e) not in ACTIVE and e["at"] <= answer.ended]
            if customer == answer.who and grabbed and not gone:
                yield f"step {answer.first}: {customer} has {name(grabbed[-1])}: {answer.outcome}"


def _asked_for(case: Case) -> Iterator[str]:
    """Nobody has a coupon that they did not ask for; a request that met a fault was sent twice."""
    asked: Counter[str] = Counter()
    for answer in case.answers("grab"):
        asked[answer.who] += 2 if answer.met else 1
    moved = set(case.successors.values())
    had = Counter(customer for customer, number in case.lives if (customer, number) not in moved)
    for customer, count in had.items():
        if count > asked[customer]:
            yield f"{customer} has had {count} coupons and asked {asked[customer]} times"


def _keys(case: Case) -> Iterator[str]:
    """While the store forgets nothing, requests of one key get one coupon."""
    if case.evidence.set_back:
        return
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for answer in case.answers("grab"):
        if answer.asked["key"] and answer.coupon is not None:
            numbers[answer.who, answer.asked["key"]].add(answer.coupon["number"])
    for (customer, key), found in numbers.items():
        if len(found) > 1:
            yield f"{customer}, {key}: {sorted(found)}"


RULES: dict[str, Callable[[Case], Iterator[str]]] = {
    "every coupon that was answered has a true record": _grabs,
    "every payment that was taken is on record": _payments,
    "a payment has one end": _one_end_of_a_payment,
    "what was given back stays given back": _returns,
    "a winner who comes again gets the coupon": _winners,
    "nobody has what they did not ask for": _asked_for,
    "one key gets one coupon": _keys,
}
