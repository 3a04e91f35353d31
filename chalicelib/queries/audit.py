"""A promotion's rows in the read tables, for comparing them with the journal."""

from decimal import Decimal
from typing import Any

from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.tables import UnreadableRow, readable, reads_row

CouponRows = dict[tuple[str, int], tuple[int, dict[str, Any]]]
Counts = tuple[int, dict[str, int]]


def coupon_rows(promotion_id: str) -> CouponRows:
    """(version, what is shown) of each coupon, by customer and number.

    A row that can't be read is left out: an audit then finds it missing, and a rebuild mends it.
    """
    return dict(readable(CouponRow.by_number.query(promotion_id), _coupon_row))


@reads_row
def _coupon_row(row: CouponRow) -> tuple[tuple[str, int], tuple[int, dict[str, Any]]]:
    shown = {
        "state": row.state,
        "grabbed_at": int(row.grabbed_at),
        "deadline": None if row.deadline is None else int(row.deadline),
        "paid_at": None if row.paid_at is None else int(row.paid_at),
        "payment_reference": row.payment_reference,
        "price": None if row.price is None else Decimal(row.price),
    }
    return (row.customer_id, int(row.number)), (int(row.version), shown)


def projected_counts(promotion_id: str) -> Counts | None:
    """(version, counts) of the promotion's row; None without one that can be read."""
    try:
        return ActivePromotionRow.get(promotion_id, consistent_read=True).counts()
    except ActivePromotionRow.DoesNotExist:
        return None
    except UnreadableRow as error:
        error.count()
        return None
