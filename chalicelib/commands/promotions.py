"""The `promotions` table: what the admin wrote. The write side's list of what there is."""

from collections.abc import Iterator

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.models import Model

from chalicelib.tables import TableMeta, TableName

LIVE = "LIVE"


class LiveIndex(GlobalSecondaryIndex["PromotionRow"]):
    """Only promotions that are not over have `live`, so the index holds no history."""

    class Meta:
        """Where the index is."""

        index_name = "live"
        projection = AllProjection()

    live = UnicodeAttribute(hash_key=True)
    finish_time = NumberAttribute(range_key=True, attr_name="finishTime")


class PromotionRow(Model):
    """One promotion as it was created; `closed_as` once it is over. Times in epoch ms."""

    class Meta(TableMeta):
        """Where the table is."""

        table_name = TableName("promotions")

    promotion_id = UnicodeAttribute(hash_key=True, attr_name="promotionId")
    number_of_coupons = NumberAttribute(attr_name="numberOfCoupons")
    discount = UnicodeAttribute()
    publish_time = NumberAttribute(attr_name="publishTime")
    finish_time = NumberAttribute(attr_name="finishTime")
    coupons_per_customer = NumberAttribute(attr_name="couponsPerCustomer")
    hold_seconds = NumberAttribute(attr_name="holdSeconds")
    live = UnicodeAttribute(null=True)
    closed_as = UnicodeAttribute(null=True, attr_name="closedAs")
    live_index = LiveIndex()


def live_promotions() -> Iterator[str]:
    """The ids of the promotions that are not over, those that end first at the front."""
    return (row.promotion_id for row in PromotionRow.live_index.query(LIVE))


def close_promotion(promotion_id: str, closed_as: str) -> None:
    """Note that a promotion is over, and how it ended; from then on nobody has to look at it."""
    PromotionRow(promotion_id).update(
        actions=[PromotionRow.closed_as.set(closed_as), PromotionRow.live.remove()]
    )
