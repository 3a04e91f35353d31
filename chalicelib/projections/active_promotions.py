"""The active promotions table: what is on sale, and how much is left.

A row is made of three parts that arrive in any order: the offer (of the newest start or recovery),
the state (of the newest start, end or recovery) and the counts (of the newest event of all). Each
part has its own version, so a finish that comes before its start still ends as finished.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from pynamodb.attributes import Attribute, NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from chalicelib import telemetry
from chalicelib.events import (
    AnyEvent,
    Event,
    PromotionCancelled,
    PromotionEnded,
    PromotionRecovered,
    PromotionStarted,
)
from chalicelib.shapes import Item, Promotion
from chalicelib.tables import (
    Row,
    TableMeta,
    TableName,
    not_newer_than,
    reads_row,
    refused_by_condition,
)


class ByState(GlobalSecondaryIndex["ActivePromotionRow"]):
    """Promotions of one state, those that end first at the front."""

    class Meta:
        """Where the index is."""

        index_name = "byState"
        projection = AllProjection()

    state = UnicodeAttribute(hash_key=True)
    finish_time = NumberAttribute(range_key=True, attr_name="finishTime")


class ActivePromotionRow(Row):
    """One promotion that has an event. Times in epoch ms.

    offer_version, state_version, version: of the newest event that the offer, the state and the
    counts reflect.
    """

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
    offer_version = NumberAttribute(null=True, attr_name="offerVersion")
    state = UnicodeAttribute(null=True)
    state_version = NumberAttribute(null=True, attr_name="stateVersion")
    stock = NumberAttribute(null=True)
    available = NumberAttribute(null=True)
    held = NumberAttribute(null=True)
    sold = NumberAttribute(null=True)
    version = NumberAttribute(null=True)
    by_state = ByState()

    @reads_row
    def to_promotion(self, item: Item | None) -> Promotion:
        """The row as the API's promotion, selling `item`; the start must have arrived.

        Raises:
            UnreadableRow: it is not as the model says.
        """
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

    @reads_row
    def counts(self) -> tuple[int, dict[str, int]] | None:
        """(version, counts by name); None before the first event.

        Raises:
            UnreadableRow: it is not as the model says.
        """
        if self.version is None:
            return None
        names = ("stock", "available", "held", "sold")
        return int(self.version), {name: int(getattr(self, name)) for name in names}


def that_matter(events: Iterable[AnyEvent]) -> set[tuple[str, int]]:
    """Of a batch, what has to touch the table: what changes offer or state, and the newest counts.

    Named by promotion and version.

    A row is shared by all events of its promotion, and one item takes 1,000 writes a second.
    """
    needed: set[tuple[str, int]] = set()
    newest: dict[str, int] = {}
    for event in events:
        if not isinstance(event, Event):
            continue
        if _state_after(event) is not None:
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
    state = _state_after(event)
    if state is None:
        return
    if isinstance(event, PromotionStarted | PromotionRecovered):
        _put_offer(event, again=again)
    _put_state(event, state, again=again)


def _state_after(event: Event) -> str | None:
    """The promotion's state that an event tells; None where it tells none."""
    match event:
        case PromotionStarted():
            return "ON_SALE"
        case PromotionRecovered():
            return event.state
        case PromotionCancelled():
            return "CANCELLED"
        case PromotionEnded():
            return "FINISHED"
    return None


def _put_offer(event: PromotionStarted | PromotionRecovered, *, again: bool) -> None:
    """Each event that tells of the offer has all of it: what it leaves out is not there."""
    row = ActivePromotionRow
    told: list[tuple[Attribute[Any], Any]] = [
        (row.discount, _text(event.discount)),
        (row.publish_time, event.opens_at),
        (row.finish_time, event.closes_at),
        (row.coupons_per_customer, event.coupons_per_customer),
        (row.hold_seconds, event.hold_seconds),
        (row.item_id, event.item_id),
        (row.price, _text(event.price)),
        (row.admission, event.admission),
        (row.offer_version, event.version),
    ]
    actions: list[Action] = [
        attribute.remove() if value is None else attribute.set(value) for attribute, value in told
    ]
    _update_if(event, not_newer_than(event, row.offer_version, again=again), actions)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


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
