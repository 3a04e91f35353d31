"""A promotion's rows in the read tables, for comparing them with the journal."""

from decimal import Decimal
from typing import Any

from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow

CouponRows = dict[tuple[str, int], tuple[int, dict[str, Any]]]
Counts = tuple[int, dict[str, int]]


def coupon_rows(promotion_id: str) -> CouponRows:
    """(version, what is shown) of each coupon, by customer and number."""
    rows = {}
    for row in CouponRow.by_number.query(promotion_id):
        shown = {
            "state": row.state,
            "grabbed_at": int(row.grabbed_at),
            "deadline": None if row.deadline is None else int(row.deadline),
            "paid_at": None if row.paid_at is None else int(row.paid_at),
            "payment_reference": row.payment_reference,
            "price": None if row.price is None else Decimal(row.price),
        }
        rows[row.customer_id, int(row.number)] = (int(row.version), shown)
    return rows


def projected_counts(promotion_id: str) -> Counts | None:
    """(version, counts) of the promotion's row; None without one."""
    try:
        row = ActivePromotionRow.get(promotion_id, consistent_read=True)
    except ActivePromotionRow.DoesNotExist:
        return None
    if row.version is None:
        return None
    names = ("stock", "available", "held", "sold")
    return int(row.version), {name: int(getattr(row, name)) for name in names}
