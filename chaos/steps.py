"""The steps of a coupon: what may become of it, and what each step leaves alone."""

from chaos.findings import Findings
from chaos.folded import ACTIVE, Event, Folded, key_of, state_of
from chaos.recoveries import name

# What may become of a coupon while the sale goes on; None is one that the sale did not know before.
_MOVES = {
    (None, "GRABBED"),
    ("GRABBED", "PAID"),
    ("GRABBED", "RELEASED"),
    ("RELEASED", "PAID"),
    ("RELEASED", "REFUND_DUE"),
    ("REFUND_DUE", "REFUND_DUE"),
    ("REVOKED", "REFUND_DUE"),
}


def move(folded: Folded, event: Event, findings: Findings) -> None:
    """Fold an event of a coupon."""
    coupon, state = key_of(event), state_of(event)
    before = folded.coupons.get(coupon)
    if _is_of_second_payment(event):
        if not folded.unsure and (before is None or state_of(before) != "PAID"):
            findings.add("journal: a second payment of what is not paid for", name(event))
        folded.lives.setdefault(coupon, []).append(event)
        return
    if not folded.unsure:
        _check_move(folded, before, event, findings)
    if before:
        count(folded, before, -1)
    folded.coupons[coupon] = event
    folded.lives.setdefault(coupon, []).append(event)
    count(folded, event, 1)
    if "movedTo" in event:
        folded.restored.add((coupon[0], event["movedTo"]))
    if folded.active[coupon[0]] > folded.limit and not folded.unsure:
        findings.add("journal: a customer over the limit", f"{coupon[0]}, {name(event)}")
    if (event.get("reason") == "RENUMBERED") != ("movedTo" in event):
        findings.add("journal: a new number that is not told", name(event))
    if state == "REVOKED" and "paidAt" in event and "movedTo" not in event:
        findings.add("journal: a payment was revoked without a refund", name(event))
    if event.get("reason") == "EXPIRED" and event["at"] < event["deadline"]:
        findings.add("journal: released before its deadline", name(event))


def _check_move(folded: Folded, before: Event | None, event: Event, findings: Findings) -> None:
    """One step of a coupon, while everything before it is known."""
    state = state_of(event)
    was = state_of(before) if before else None
    fresh = (
        before is None and event["type"] == "CouponGrabbed" and event["at"] == event["grabbedAt"]
    )
    if before is None and not fresh:
        # Only what the sale had forgotten may come back, as whatever has become of it.
        if key_of(event) not in folded.restored:
            findings.add("journal: a coupon came back that nobody had", name(event))
    elif not _may_become(was, event, folded.lives.get(key_of(event), [])):
        findings.add("journal: a coupon went the wrong way", f"{was} to {state}, {name(event)}")
    if before is not None:
        _check_same_coupon(folded, before, event, findings)
    if state == "GRABBED":
        _check_grab(folded, event, findings, fresh=fresh)


def _may_become(was: str | None, event: Event, life: list[Event]) -> bool:
    if was == state_of(event) == "PAID":  # told again, behind the refund of a second payment
        return _is_of_second_payment(life[-1])
    if was == state_of(event) == "GRABBED":
        return bool(event["type"] == "CouponExtended")
    return (was, state_of(event)) in _MOVES


def _is_of_second_payment(event: Event) -> bool:
    """True of a refund that changes nothing of its coupon: another payment has paid for that."""
    return bool(event.get("reason") == "ALREADY_PAID")


def _check_same_coupon(folded: Folded, before: Event, event: Event, findings: Findings) -> None:
    """What a step leaves alone, and the deadline, which only a fence moves, and only on."""
    for what in ("grabbedAt", "discount", "price", "requestKey"):
        if before.get(what) != event.get(what):
            findings.add("journal: a coupon that became another one", f"{what}, {name(event)}")
    moved = event["type"] == "CouponExtended"
    old, new = before.get("deadline", 0), event.get("deadline", 0)
    if new != old and not (moved and 0 < old < new):
        findings.add("journal: a deadline that was moved", f"{old} to {new}, {name(event)}")
    known = {e.get("paymentReference") for e in folded.lives.get(key_of(event), ())}
    if state_of(before) == state_of(event) == "REFUND_DUE" and event["paymentReference"] in known:
        findings.add("journal: one payment with two refunds", name(event))


def _check_grab(folded: Folded, event: Event, findings: Findings, *, fresh: bool) -> None:
    if fresh:
        check_open(folded, "grabbed", event, findings)
        if "requestKey" not in event:
            findings.add("journal: a grab without the key of its request", name(event))
    elif folded.state == "CANCELLED":
        findings.add("journal: a unit after a cancellation", name(event))
    offer = folded.offer
    if offer and not offer["opensAt"] <= event["grabbedAt"] < offer["closesAt"]:
        findings.add("journal: grabbed outside of the window", name(event))
    if any(key[1] == event["number"] and key[0] != event["customerId"] and state_of(e) != "REVOKED"
           for key, e in folded.coupons.items()):  # fmt: skip
        findings.add("journal: a number was granted twice", name(event))


def count(folded: Folded, event: Event, by: int) -> None:
    """Count a coupon in, or out, as its event has it."""
    state = state_of(event)
    if state in ACTIVE:
        folded.active[event["customerId"]] += by
    if state == "PAID" or (state == "GRABBED" and "deadline" not in event):
        folded.sold += by
    elif state == "GRABBED":
        folded.held += by


def check_open(folded: Folded, what: str, event: Event, findings: Findings) -> None:
    """Nothing is sold or added once a sale is over."""
    if folded.ended and not folded.unsure:
        findings.add(f"journal: {what} after the end", name(event))
