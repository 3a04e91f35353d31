"""Who holds which coupon."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from chalicelib.projections.coupons import CouponRow
from chalicelib.shapes import Coupon


@dataclass(frozen=True, slots=True)
class Page:
    """A page of coupons; `after` names the next one, None on the last."""

    coupons: list[Coupon]
    after: str | None


def coupons_of(customer_id: str, after: str | None, limit: int) -> Page:
    """A customer's coupons in order of their id, from the one behind the id `after` on."""
    rows = CouponRow.query(
        customer_id,
        CouponRow.coupon > after if after else None,
        limit=limit + 1,
        consistent_read=True,
    )
    return _page(rows, limit, lambda last: last.coupon_id)


def coupon_of(customer_id: str, promotion_id: str) -> Coupon | None:
    """The customer's coupon of one promotion that has a unit, if the tables have one."""
    rows = CouponRow.query(
        customer_id,
        CouponRow.coupon.startswith(f"{promotion_id}-"),
        filter_condition=CouponRow.state.is_in("GRABBED", "PAID"),
        limit=1,
        consistent_read=True,
    )
    return next((row.to_coupon() for row in rows), None)


def coupon_by_id(customer_id: str, coupon_id: str) -> Coupon | None:
    """The customer's coupon of this id, if the tables have it."""
    try:
        return CouponRow.get(customer_id, coupon_id, consistent_read=True).to_coupon()
    except CouponRow.DoesNotExist:
        return None


def coupons_of_promotion(
    promotion_id: str, after: int, limit: int, state: str | None = None
) -> Page:
    """A promotion's coupons in order of their number, from the one behind `after` on.

    With `state`, only those: REVOKED and REFUND_DUE are what a shop has to make good.
    """
    rows = CouponRow.by_number.query(
        promotion_id,
        CouponRow.number > after,
        filter_condition=None if state is None else CouponRow.state == state,
        limit=limit + 1,
    )
    return _page(rows, limit, lambda last: str(last.number))


def _page(rows: Iterable[CouponRow], limit: int, name: Callable[[Coupon], str]) -> Page:
    coupons = [row.to_coupon() for row in islice(rows, limit + 1)]
    page = coupons[:limit]
    return Page(page, after=name(page[-1]) if len(coupons) > limit else None)
