"""What a recovery has to decide about coupons, when the store had decided one thing and forgot it.

Whoever was granted a coupon keeps it as long as the stock lasts: the paid first, unpaid ones that
are overdue last, those the journal knew before the others, in the order in which they came. The
others get a truthful record: REVOKED, or REFUND_DUE where money has moved. A number that two
customers got stays with the one the journal knew; the other one's coupon gets a new number and
forwards to it. The time behind the fence, in which nobody could pay, is given back to those whose
holds were open.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any

from chalicelib.commands.fold import Folded, Place
from chalicelib.events import (
    CouponEvent,
    CouponExtended,
    CouponGrabbed,
    CouponPaid,
    CouponRevoked,
    RefundRecorded,
)

# So much time behind a fence need not be given back: an attempt of a recovery takes as long.
SLACK_MS = 1000


def make_amends(folded: Folded, changed: set[Place], since: int, now: int) -> list[CouponEvent]:
    """Decide about the coupons; returns the new event of each that changes, `folded` follows.

    The events have their old version and counts still.

    Args:
        folded: the promotion, all witnesses folded in.
        changed: the coupons that are as they are only by what the journal's story is without.
        since: from when on nobody was served, in epoch ms.
        now: the store's clock, in epoch ms.
    """
    changed = changed | folded.overruled
    touched = dict.fromkeys(sorted(changed | folded.disputed))
    touched |= dict.fromkeys(_finish_moves(folded))
    touched |= dict.fromkeys(_extend(folded, since, now))
    touched |= dict.fromkeys(_renumber(folded, changed))
    touched |= dict.fromkeys(_take_back(folded, changed, now))
    refunds = [_refund(payment) for payment in folded.second_payments]
    # The coupon's own event comes behind: the newest one says what it is.
    touched |= {(refund.customer_id, refund.number): None for refund in refunds}
    return [*refunds, *(folded.coupons[place] for place in touched)]


def _refund(payment: CouponEvent) -> CouponEvent:
    return RefundRecorded(**_shared(payment), reason="ALREADY_PAID")


def _extend(folded: Folded, since: int, now: int) -> Iterator[Place]:
    """Those whose hold was open when the fence went up.

    Time counts from the coupon's newest event on: an attempt that was interrupted may have given
    time back already, and a fence of before may have been down meanwhile.
    """
    if folded.closed_as == "CANCELLED":
        return
    for coupon in folded.active:
        if coupon.state == "PAID" or coupon.deadline is None or coupon.deadline <= since:
            continue
        ms = now - max(since, coupon.at)
        if ms <= (SLACK_MS if isinstance(coupon, CouponExtended) and coupon.at > since else 0):
            continue
        place = (coupon.customer_id, coupon.number)
        shared = _shared(coupon) | {"deadline": coupon.deadline + ms}
        folded.coupons[place] = CouponExtended(**shared)
        yield place


def _finish_moves(folded: Folded) -> Iterator[Place]:
    """Coupons of which only the end of their old number is on record: the new one has them."""
    for coupon in list(folded.coupons.values()):
        if not isinstance(coupon, CouponRevoked) or coupon.moved_to is None:
            continue
        moved = (coupon.customer_id, coupon.moved_to)
        if moved in folded.coupons:
            continue
        kind = CouponGrabbed if coupon.paid_at is None else CouponPaid
        folded.coupons[moved] = kind(**_shared(coupon) | {"number": coupon.moved_to})
        old = (coupon.customer_id, coupon.number)
        if old in folded.references:
            folded.references[moved] = list(folded.references[old])
        yield moved


def _renumber(folded: Folded, changed: set[Place]) -> Iterator[Place]:
    owners: dict[int, Place] = {}

    def claim(place: Place) -> tuple[bool, bool, int, Place]:
        coupon = folded.coupons[place]
        has_unit = coupon.state in ("GRABBED", "PAID")
        return (place in changed, not has_unit, coupon.grabbed_at, place)

    for place in sorted(folded.coupons, key=claim):
        owners.setdefault(place[1], place)
    number = folded.granted
    for coupon in folded.active:
        place = (coupon.customer_id, coupon.number)
        if owners[coupon.number] == place:
            continue
        number += 1
        moved = (coupon.customer_id, number)
        folded.coupons[moved] = replace(coupon, number=number)
        shared = _shared(coupon)
        folded.coupons[place] = CouponRevoked(**shared, reason="RENUMBERED", moved_to=number)
        if place in folded.references:
            folded.references[moved] = folded.references.pop(place)
        if place in changed:
            changed.add(moved)
        yield place
        yield moved


def _take_back(folded: Folded, changed: set[Place], now: int) -> Iterator[Place]:
    def claim(coupon: CouponEvent) -> tuple[bool, bool, bool, int, int]:
        unpaid = coupon.state != "PAID"
        # Its release may be what was forgotten, and its unit another's by then.
        overdue = unpaid and coupon.deadline is not None and coupon.deadline <= now
        doubtful = (coupon.customer_id, coupon.number) in changed
        return (unpaid, overdue, doubtful, coupon.grabbed_at, coupon.number)

    for coupon in list(_without_a_unit(folded, sorted(folded.active, key=claim))):
        place = (coupon.customer_id, coupon.number)
        if coupon.state == "PAID":
            folded.coupons[place] = RefundRecorded(**_shared(coupon), reason="REVOKED")
        else:
            folded.coupons[place] = CouponRevoked(**_shared(coupon), reason="SOLD_TWICE")
        yield place


def _without_a_unit(folded: Folded, claims: Iterable[CouponEvent]) -> Iterator[CouponEvent]:
    """Those whom the stock, or the limit per customer, leaves without."""
    limit = folded.base.coupons_per_customer if folded.base else None
    served: dict[str, int] = {}
    left = folded.stock
    for coupon in claims:
        of_customer = served.get(coupon.customer_id, 0)
        if of_customer == (limit or folded.stock) or left == 0:
            yield coupon
        else:
            left -= 1
            served[coupon.customer_id] = of_customer + 1


def _shared(coupon: CouponEvent) -> dict[str, Any]:
    """What all events of a coupon have, also what this version does not know."""
    return {field.name: getattr(coupon, field.name) for field in fields(CouponEvent) if field.init}
