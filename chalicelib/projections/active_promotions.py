"""The active promotions table: what is on sale, and how much is left.

A row is made of three parts that arrive in any order: the offer (written once, by the start),
the state (of the newest of start and finish) and the counts (of the newest event of all). Each
part has its own version, so a finish that comes before its start still ends as finished.
"""

from collections.abc import Iterable
from decimal import Decimal

from aws_lambda_powertools.metrics import MetricUnit
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.models import Model

from chalicelib import telemetry
from chalicelib.events import (
    AnyEvent,
    Event,
    PromotionCancelled,
    PromotionEnded,
    PromotionStarted,
)
from chalicelib.shapes import Item, Promotion
from chalicelib.tables import TableMeta, TableName, not_newer_than, refused_by_condition


class ByState(GlobalSecondaryIndex["ActivePromotionRow"]):
    """Promotions of one state, those that end first at the front."""

    class Meta:
        """Where the index is."""

        index_name = "byState"
        projection = AllProjection()

    state = UnicodeAttribute(hash_key=True)
    finish_time = NumberAttribute(range_key=True, attr_name="finishTime")


class ActivePromotionRow(Model):
    """One promotion that has started. Times in epoch ms."""

    class Meta(TableMeta):
        """Where the table is."""

        table_name = TableName("active-promotions")

    promotion_id = UnicodeAttribute(hash_key=True, attr_name="promotionId")
    discount = UnicodeAttribute(null=True)
    publish_time = NumberAttribute(null=True, attr_name="publishTime")
    finish_time = NumberAttribute(null=True, attr_name="finishTime")
    coupons_per_customer = NumberAttribute(null=True, attr_name="couponsPerCustomer")
    hold_seconds = NumberAttribute(null=True, attr_name="holdSeconds")
    item_id = UnicodeAttribute(null=True, attr_name="itemId")
    price = UnicodeAttribute(null=True)
    admission = UnicodeAttribute(null=True)
    state = UnicodeAttribute(null=True)
    state_version = NumberAttribute(null=True, attr_name="stateVersion")
    stock = NumberAttribute(null=True)
    available = NumberAttribute(null=True)
    held = NumberAttribute(null=True)
    sold = NumberAttribute(null=True)
    version = NumberAttribute(null=True)
    by_state = ByState()

    def to_promotion(self, item: Item | None) -> Promotion:
        """The row as the API's promotion, selling `item`; the start must have arrived."""
        return Promotion(
            promotion_id=self.promotion_id,
            number_of_coupons=int(self.stock),
            discount=Decimal(self.discount),
            publish_time=int(self.publish_time),
            finish_time=int(self.finish_time),
            coupons_per_customer=int(self.coupons_per_customer),
            hold_seconds=int(self.hold_seconds),
            state=self.state,
            available=int(self.available),
            item_id=self.item_id,
            item=item,
            price=None if self.price is None else Decimal(self.price),
            admission=self.admission,
        )


def that_matter(events: Iterable[AnyEvent]) -> set[tuple[str, int]]:
    """Of a batch, what has to touch the table: all starts and ends, and the newest counts.

    Named by promotion and version.

    A row is shared by all events of its promotion, and one item takes 1,000 writes a second.
    """
    needed: set[tuple[str, int]] = set()
    newest: dict[str, int] = {}
    for event in events:
        if not isinstance(event, Event):
            continue
        if isinstance(event, PromotionStarted | PromotionEnded):
            needed.add((event.promotion_id, event.version))
        newest[event.promotion_id] = max(event.version, newest.get(event.promotion_id, 0))
    return needed | set(newest.items())


def on_event(event: AnyEvent, *, again: bool = False) -> None:
    """Fold one event into the table; unknown types are skipped.

    With `again`, what already reflects this very event is written anew. New counts are reported
    as metrics: here, where a batch is one write, and not by each grab.

    Raises:
        pynamodb.exceptions.UpdateError: the table can't be written.
    """
    if not isinstance(event, Event):
        return
    _put_counts(event, again=again)
    # The state comes last: it is what a reader finds a row by, and the row must be whole then.
    if isinstance(event, PromotionStarted):
        _put_offer(event)
        _put_state(event, "ON_SALE", again=again)
    if isinstance(event, PromotionEnded):
        cancelled = isinstance(event, PromotionCancelled)
        _put_state(event, "CANCELLED" if cancelled else "FINISHED", again=again)


def _put_offer(event: PromotionStarted) -> None:
    actions: list[Action] = [
        ActivePromotionRow.discount.set(str(event.discount)),
        ActivePromotionRow.publish_time.set(event.opens_at),
        ActivePromotionRow.finish_time.set(event.closes_at),
        ActivePromotionRow.coupons_per_customer.set(event.coupons_per_customer),
        ActivePromotionRow.hold_seconds.set(event.hold_seconds),
    ]
    if event.item_id is not None:
        actions.append(ActivePromotionRow.item_id.set(event.item_id))
    if event.price is not None:
        actions.append(ActivePromotionRow.price.set(str(event.price)))
    if event.admission is not None:
        actions.append(ActivePromotionRow.admission.set(event.admission))
    ActivePromotionRow(event.promotion_id).update(actions=actions)


def _put_state(event: Event, state: str, *, again: bool) -> None:
    version = ActivePromotionRow.state_version
    _update_if(
        event,
        not_newer_than(event, version, again=again),
        [ActivePromotionRow.state.set(state), version.set(event.version)],
    )


def _put_counts(event: Event, *, again: bool) -> None:
    version = ActivePromotionRow.version
    written = _update_if(
        event,
        not_newer_than(event, version, again=again),
        [
            ActivePromotionRow.stock.set(event.stock),
            ActivePromotionRow.available.set(event.available),
            ActivePromotionRow.held.set(event.held),
            ActivePromotionRow.sold.set(event.sold),
            version.set(event.version),
        ],
    )
    if written and not again:
        telemetry.measure_all(
            {
                "sold": (event.sold, MetricUnit.Count),
                "held": (event.held, MetricUnit.Count),
                "available": (event.available, MetricUnit.Count),
            },
            by={"promotion": event.promotion_id},
        )


def _update_if(event: Event, condition: Condition, actions: list[Action]) -> bool:
    """Returns whether the condition held."""
    try:
        ActivePromotionRow(event.promotion_id).update(actions=actions, condition=condition)
    except UpdateError as error:
        if not refused_by_condition(error):
            raise
        return False
    return True
