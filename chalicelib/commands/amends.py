"""Amends: what a recovery has to decide when the store had told two stories.

Whoever was told yes keeps the coupon as long as the stock lasts: the paid first, unpaid ones that
are overdue last, those the journal knew before the others, in the order in which they came. The
others get a truthful record: REVOKED, or REFUND_DUE where money has moved. A number that two
customers got stays with the one the journal knew; the other one's coupon gets a new number.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from chalicelib.commands.fold import Folded
from chalicelib.events import (
    GENERATION,
    CouponEvent,
    CouponRevoked,
    Event,
    PromotionRecovered,
    RefundRecorded,
)

Place = tuple[str, int]


def make_amends(
    folded: Folded, changed: set[Place], promotion_id: str, now: int, reason: str, lost: int
) -> list[Event]:
    """The events of a recovery, the first of which opens a new generation; `folded` follows them.

    Args:
        folded: the promotion, the conflicts folded in.
        changed: the coupons that only the conflicts know to be as they are.
        promotion_id: whose events they are.
        now: the store's clock, in epoch ms.
        reason: what had happened to the store.
        lost: how many versions nobody could find.
    """
    changed = changed | folded.overruled
    told = [*_renumber(folded, changed), *_take_back(folded, changed, now)]
    settled = {(event.customer_id, event.number) for event in told}
    told += [folded.coupons[place] for place in sorted(changed - settled)]
    held, sold = folded.held, folded.sold
    counts: dict[str, Any] = {
        "at": now,
        "stock": folded.stock,
        "available": folded.stock - held - sold,
        "held": held,
        "sold": sold,
    }
    version = (folded.newest // GENERATION + 1) * GENERATION + 1
    opened = PromotionRecovered(
        promotion_id=promotion_id, version=version, reason=reason, lost=lost, **counts
    )
    decided: list[Event] = [opened]
    for place, event in enumerate(told, start=1):
        coupon = replace(event, version=version + place, **counts)
        decided.append(coupon)
        folded.coupons[coupon.customer_id, coupon.number] = coupon
    folded.newest = version + len(told)
    return decided


def _renumber(folded: Folded, changed: set[Place]) -> Iterator[CouponEvent]:
    owners: dict[int, Place] = {}

    def claim(place: Place) -> tuple[bool, int, Place]:
        return (place in changed, folded.coupons[place].grabbed_at, place)

    for place in sorted(folded.coupons, key=claim):
        owners.setdefault(place[1], place)
    number = max(owners, default=0)
    for coupon in folded.active:
        place = (coupon.customer_id, coupon.number)
        if owners[coupon.number] == place:
            continue
        number += 1
        moved = replace(coupon, number=number)
        folded.coupons[place] = _as(CouponRevoked, coupon, "RENUMBERED")
        folded.coupons[moved.customer_id, number] = moved
        yield folded.coupons[place]
        yield moved


def _take_back(folded: Folded, changed: set[Place], now: int) -> Iterator[CouponEvent]:
    def claim(coupon: CouponEvent) -> tuple[bool, bool, bool, int, int]:
        unpaid = coupon.state != "PAID"
        # Its release may be what was forgotten, and its unit another's by then.
        overdue = unpaid and coupon.deadline is not None and coupon.deadline <= now
        doubtful = (coupon.customer_id, coupon.number) in changed
        return (unpaid, overdue, doubtful, coupon.grabbed_at, coupon.number)

    for coupon in list(_without_a_unit(folded, sorted(folded.active, key=claim))):
        cls = RefundRecorded if coupon.state == "PAID" else CouponRevoked
        reason = "REVOKED" if coupon.state == "PAID" else "SOLD_TWICE"
        gone = _as(cls, coupon, reason)
        folded.coupons[coupon.customer_id, coupon.number] = gone
        yield gone


def _without_a_unit(folded: Folded, claims: list[CouponEvent]) -> Iterator[CouponEvent]:
    """Those whom the stock, or the limit per customer, leaves without."""
    limit = folded.started.coupons_per_customer if folded.started else folded.stock
    served: dict[str, int] = {}
    left = folded.stock
    for coupon in claims:
        of_customer = served.get(coupon.customer_id, 0)
        if of_customer == limit or left == 0:
            yield coupon
        else:
            left -= 1
            served[coupon.customer_id] = of_customer + 1


def _as(cls: type[CouponRevoked | RefundRecorded], coupon: CouponEvent, reason: str) -> CouponEvent:
    """The same coupon, as another event tells it."""
    shared = {
        field.name: getattr(coupon, field.name) for field in fields(CouponEvent) if field.init
    }
    return cls(**shared, reason=reason)
