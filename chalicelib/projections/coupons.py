"""The coupons table: who holds what, in which state."""

import time
from decimal import Decimal

from aws_lambda_powertools.metrics import MetricUnit
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import PutError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from chalicelib import telemetry
from chalicelib.events import (
    AnyEvent,
    CouponEvent,
    CouponReleased,
    CouponRevoked,
    RefundRecorded,
)
from chalicelib.shapes import Coupon, coupon_id
from chalicelib.tables import (
    Row,
    TableMeta,
    TableName,
    not_newer_than,
    reads_row,
    refused_by_condition,
)

_WITH_REASON = (CouponReleased, RefundRecorded, CouponRevoked)


class ByNumber(GlobalSecondaryIndex["CouponRow"]):
    """A promotion's coupons in order of their number."""

    class Meta:
        """Where the index is."""

        index_name = "byNumber"
        projection = AllProjection()

    promotion_id = UnicodeAttribute(hash_key=True, attr_name="promotionId")
    number = NumberAttribute(range_key=True)


class CouponRow(Row):
    """One coupon; `version` is that of the newest event it reflects. Times in epoch ms.

    `reason` is why the coupon is no longer valid; `moved_to` the number that replaces this one.
    """

    class Meta(TableMeta):
        """Where the table is."""

        table_name = TableName("coupons")

    customer_id = UnicodeAttribute(hash_key=True, attr_name="customerId")
    coupon = UnicodeAttribute(range_key=True)
    promotion_id = UnicodeAttribute(attr_name="promotionId")
    number = NumberAttribute()
    version = NumberAttribute()
    state = UnicodeAttribute()
    discount = UnicodeAttribute()
    grabbed_at = NumberAttribute(attr_name="grabbedAt")
    deadline = NumberAttribute(null=True)
    price = UnicodeAttribute(null=True)
    paid_at = NumberAttribute(null=True, attr_name="paidAt")
    payment_reference = UnicodeAttribute(null=True, attr_name="paymentReference")
    moved_to = NumberAttribute(null=True, attr_name="movedTo")
    reason = UnicodeAttribute(null=True)
    by_number = ByNumber()

    @reads_row
    def to_coupon(self) -> Coupon:
        """The row as the API's coupon.

        Raises:
            UnreadableRow: it is not as the model says.
        """
        moved_to = (
            None if self.moved_to is None else coupon_id(self.promotion_id, int(self.moved_to))
        )
        return Coupon(
            promotion_id=self.promotion_id,
            customer_id=self.customer_id,
            number=int(self.number),
            state=self.state,
            discount=Decimal(self.discount),
            grabbed_at=int(self.grabbed_at),
            deadline=None if self.deadline is None else int(self.deadline),
            price=None if self.price is None else Decimal(self.price),
            paid_at=None if self.paid_at is None else int(self.paid_at),
            payment_reference=self.payment_reference,
            moved_to=moved_to,
            reason=self.reason,
        )


def on_event(event: AnyEvent, *, again: bool = False) -> None:
    """Fold one event into the table; types that say nothing of a coupon are skipped.

    Every event of a coupon carries the whole of it, so the newest one is the row, and one that
    comes late or again changes nothing. With `again`, a row that already reflects this very event
    is written anew, whatever somebody has done to it. What becomes visible for the first time is
    measured: how long after the decision a reader finds it.

    Raises:
        pynamodb.exceptions.PutError: the table can't be written.
    """
    if not isinstance(event, CouponEvent):
        return
    row = CouponRow(
        event.customer_id,
        coupon_id(event.promotion_id, event.number),
        promotion_id=event.promotion_id,
        number=event.number,
        version=event.version,
        state=event.state,
        discount=str(event.discount),
        grabbed_at=event.grabbed_at,
        deadline=event.deadline,
        price=None if event.price is None else str(event.price),
        paid_at=event.paid_at,
        payment_reference=event.payment_reference,
        moved_to=event.moved_to if isinstance(event, CouponRevoked) else None,
        reason=event.reason if isinstance(event, _WITH_REASON) else None,
    )
    try:
        row.save(condition=not_newer_than(event, CouponRow.version, again=again))
    except PutError as error:
        if not refused_by_condition(error):
            raise
        return
    if not again:
        # Two clocks, the store's and ours: they differ by less than a queue takes.
        visible_ms = max(0, time.time_ns() // 1_000_000 - event.at)
        telemetry.measure(
            "time_to_visible", visible_ms, MetricUnit.Milliseconds, promotion=event.promotion_id
        )
