"""Who holds which coupon."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, islice

from chalicelib.projections.coupons import CouponRow
from chalicelib.shapes import Coupon
from chalicelib.tables import readable

# DynamoDB counts rows before it filters them, so a filtered query asks for many at a time.
_FILTERED_ROWS = 500


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
        page_size=limit + 1,
        consistent_read=True,
    )
    coupons = list(islice(readable(rows, CouponRow.to_coupon), limit + 1))
    page = coupons[:limit]
    return Page(page, after=page[-1].coupon_id if len(coupons) > limit else None)


def coupon_of(customer_id: str, promotion_id: str) -> Coupon | None:
    """The customer's coupon of one promotion that has a unit, if the tables have one."""
    rows = CouponRow.query(
        customer_id,
        CouponRow.coupon.startswith(f"{promotion_id}-"),
        filter_condition=CouponRow.state.is_in("GRABBED", "PAID"),
        page_size=_FILTERED_ROWS,
        consistent_read=True,
    )
    return next(readable(rows, CouponRow.to_coupon), None)


def coupon_by_id(customer_id: str, coupon_id: str) -> Coupon | None:
    """The customer's coupon of this id, if the tables have it.

    Raises:
        UnreadableRow: it is there and can't be read.
    """
    try:
        return CouponRow.get(customer_id, coupon_id, consistent_read=True).to_coupon()
    except CouponRow.DoesNotExist:
        return None


def coupons_of_promotion(
    promotion_id: str, after: int, limit: int, state: str | None = None
) -> Page:
    """A promotion's coupons in order of their number, from the first behind `after` on.

    With `state`, only those: REVOKED and REFUND_DUE are what a shop has to make good. Two coupons
    have one number after the store had gone back in time. All of a number are on one page, because
    the number is where the next page begins; so a page may have a few more than `limit`.
    """
    rows = CouponRow.by_number.query(
        promotion_id,
        CouponRow.number > after,
        filter_condition=None if state is None else CouponRow.state == state,
        page_size=limit + 1 if state is None else _FILTERED_ROWS,
    )
    page: list[Coupon] = []
    coupons: Iterable[Coupon] = readable(rows, CouponRow.to_coupon)
    for _, of_one_number in groupby(coupons, key=lambda coupon: coupon.number):
        if len(page) >= limit:
            return Page(page, after=str(page[-1].number))
        page += of_one_number
    return Page(page, after=None)
