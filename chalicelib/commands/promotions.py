"""The `promotions` table: what the admin wrote. The write side's list of what there is."""

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from redis import Redis

from chalicelib.commands import scripts
from chalicelib.commands.fold import restocks_as_text
from chalicelib.commands.offer import Offer
from chalicelib.tables import Row, TableMeta, TableName, readable, reads_row, refused_by_condition

LIVE = "LIVE"
# A page that takes long is no outage: a busy table answers a small one in time.
_PAGE = 500


class LiveIndex(GlobalSecondaryIndex["PromotionRow"]):
    """Only promotions that are not over have `live`, so the index holds no history."""

    class Meta:
        """Where the index is."""

        index_name = "live"
        projection = AllProjection()

    live = UnicodeAttribute(hash_key=True)
    finish_time = NumberAttribute(range_key=True, attr_name="finishTime")


class PromotionRow(Row):
    """One promotion as the admin wants it; `closed_as` once it is over. Times in epoch ms.

    revision: counts the edits and restocks that the store has taken; a row never goes back to an
    older one. restocks: those that are in numberOfCoupons, see `fold.restocks_in_text`. request: a
    digest of the offer as it was first asked for. creating: there until the store has it. live:
    there while the sweep watches it. watched_at: when it was last put under watch again.
    checked_version: up to this version a sweep has compared store and journal.
    """

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
    item_id = UnicodeAttribute(null=True, attr_name="itemId")
    price = UnicodeAttribute(null=True)
    admission = UnicodeAttribute(null=True)
    request = UnicodeAttribute(null=True)
    revision = NumberAttribute(default=0)
    restocks = UnicodeAttribute(null=True)
    creating = UnicodeAttribute(null=True)
    watched_at = NumberAttribute(null=True, attr_name="watchedAt")
    checked_version = NumberAttribute(default=0, attr_name="checkedVersion")
    live = UnicodeAttribute(null=True)
    closed_as = UnicodeAttribute(null=True, attr_name="closedAs")
    live_index = LiveIndex()

    @classmethod
    def of(cls, promotion_id: str, offer: Offer, price: Decimal | None) -> "PromotionRow":
        """The row of a new promotion."""
        return cls(
            promotion_id,
            number_of_coupons=offer.number_of_coupons,
            discount=str(offer.discount),
            publish_time=offer.publish_time,
            finish_time=offer.finish_time,
            coupons_per_customer=offer.coupons_per_customer,
            hold_seconds=offer.hold_seconds,
            item_id=offer.item_id,
            price=None if price is None else str(price),
            admission=offer.admission,
            live=LIVE,
        )

    def place(self) -> str:
        """Where it is in the list of live promotions: see `live_promotions`."""
        return f"{int(self.finish_time)} {self.promotion_id}"

    @reads_row
    def offer(self) -> Offer:
        """The offer in the row.

        Raises:
            UnreadableRow: it is not as the model says.
        """
        return Offer(
            number_of_coupons=int(self.number_of_coupons),
            discount=Decimal(self.discount),
            publish_time=int(self.publish_time),
            finish_time=int(self.finish_time),
            coupons_per_customer=int(self.coupons_per_customer),
            hold_seconds=int(self.hold_seconds),
            item_id=self.item_id,
            admission=self.admission or "open",
        )

    @reads_row
    def exact_price(self) -> Decimal | None:
        """What a unit costs; None without an item.

        Raises:
            UnreadableRow: it is not as the model says.
        """
        return None if self.price is None else Decimal(self.price)

    def checked(self) -> "PromotionRow":
        """The row itself, if it is as the model says.

        Raises:
            UnreadableRow: it is not.
        """
        self.offer()
        self.exact_price()
        return self


def live_promotions(after: str = "") -> Iterator[PromotionRow]:
    """The promotions that are not over, those that end first at the front.

    `after` is a place in this list, to go on behind it. A row that can't be read is counted and
    left out; `live_ids` has its id.
    """
    start: Any = None
    if after:
        finish_time, _, promotion_id = after.partition(" ")
        start = {
            "live": {"S": LIVE},
            "finishTime": {"N": finish_time},
            "promotionId": {"S": promotion_id},
        }
    rows = PromotionRow.live_index.query(LIVE, last_evaluated_key=start, page_size=_PAGE)
    return readable(rows, PromotionRow.checked)


def place_time(place: str) -> int:
    """When the promotion at a place of that list ends (epoch ms)."""
    return int(place.partition(" ")[0])


def live_ids() -> list[str]:
    """The ids of the promotions that are not over, also of rows that can't be read."""
    found = PromotionRow.live_index.query(LIVE, attributes_to_get=["promotionId"])
    return [row.promotion_id for row in found]


def all_ids() -> list[str]:
    """The ids of all promotions there ever were, also of rows that can't be read."""
    return [row.promotion_id for row in PromotionRow.scan(attributes_to_get=["promotionId"])]


def find_promotion(promotion_id: str) -> PromotionRow | None:
    """A promotion's row, as written last.

    Raises:
        UnreadableRow: it is there, and an attribute of it has another type.
        pynamodb.exceptions.GetError: the table can't be read.
    """
    try:
        return PromotionRow.get(promotion_id, consistent_read=True)
    except PromotionRow.DoesNotExist:
        return None


def copy_from_store(promotion_id: str, store: Redis) -> None:
    """Bring the row up to the offer in the store, which decides on edits.

    Calls may overtake each other: a row that is as new, or newer, stays as it is.

    Raises:
        redis.RedisError, pynamodb.exceptions.UpdateError: one of the two is away; the next
            sweep makes up for it.
    """
    key = scripts.key(promotion_id, "promotion")
    stored: Any = store.hgetall(key)
    if "state" not in stored:
        return
    revision = int(stored.get("revision", 0))
    restocks = {
        name.partition(":")[2]: int(text.split()[0])
        for name, text in stored.items()
        if name.startswith("restock:")
    }
    row = PromotionRow
    actions: list[Action] = [
        row.number_of_coupons.set(int(stored["stock"])),
        row.discount.set(stored["discount"]),
        row.publish_time.set(int(stored["opens_at"])),
        row.finish_time.set(int(stored["closes_at"])),
        row.coupons_per_customer.set(int(stored["coupons_per_customer"])),
        row.hold_seconds.set(int(stored["hold_ms"]) // 1000),
        row.admission.set(stored.get("admission", "open")),
        row.revision.set(revision),
        row.restocks.set(restocks_as_text(restocks)),
        row.price.set(stored["price"]) if "price" in stored else row.price.remove(),
        row.item_id.set(stored["item_id"]) if "item_id" in stored else row.item_id.remove(),
    ]
    try:
        row(promotion_id).update(actions=actions, condition=row.revision < revision)
    except UpdateError as error:
        if not refused_by_condition(error):
            raise


def look_after_again(promotion_id: str) -> None:
    """Have the sweep watch a promotion, also one that it had let go of: something of it is open.

    Raises:
        pynamodb.exceptions.UpdateError: the table can't be written.
    """
    _update(
        promotion_id,
        PromotionRow.live.set(LIVE),
        PromotionRow.watched_at.set(time.time_ns() // 1_000_000),
    )


def note_end(promotion_id: str, closed_as: str) -> None:
    """Note how a promotion ended.

    Raises:
        pynamodb.exceptions.UpdateError: the table can't be written.
    """
    _update(promotion_id, PromotionRow.closed_as.set(closed_as))


def note_created(promotion_id: str) -> None:
    """Note that the store has the promotion.

    Raises:
        pynamodb.exceptions.UpdateError: the table can't be written.
    """
    _update(promotion_id, PromotionRow.creating.remove())


def note_checked(promotion_id: str, version: int) -> None:
    """Note up to which version store and journal were compared.

    Raises:
        pynamodb.exceptions.UpdateError: the table can't be written.
    """
    _update(promotion_id, PromotionRow.checked_version.set(version))


def close_promotion(
    promotion_id: str, closed_as: str, seen: PromotionRow | None = None, watch_ms: int = 0
) -> bool:
    """Note how a promotion ended, and that nobody has to watch it any more; returns whether.

    Not if it was put under watch since the row was `seen`, or less than `watch_ms` ago: whoever did
    so may be about to decide something.

    Raises:
        pynamodb.exceptions.UpdateError: the table can't be written.
    """
    actions = (PromotionRow.closed_as.set(closed_as), PromotionRow.live.remove())
    if seen is None:
        return _update(promotion_id, *actions)
    watched = PromotionRow.watched_at
    if seen.watched_at is None:
        return _update(promotion_id, *actions, only_if=watched.does_not_exist())
    if 0 <= time.time_ns() // 1_000_000 - int(seen.watched_at) < watch_ms:
        return False
    return _update(promotion_id, *actions, only_if=watched == seen.watched_at)


def _update(promotion_id: str, *actions: Action, only_if: Condition | None = None) -> bool:
    """Update a row that is there; False if it is not, or `only_if` does not hold."""
    condition = PromotionRow.promotion_id.exists()
    if only_if is not None:
        condition &= only_if
    try:
        PromotionRow(promotion_id).update(actions=list(actions), condition=condition)
    except UpdateError as error:
        if not refused_by_condition(error):
            raise
        return False
    return True
