"""Stragglers: events that reach the journal when a recovery has been without them already.

They were in a dead-letter queue, or came under a version that was taken (a conflict). The sale goes
on meanwhile, and nobody is kept waiting for them. What they say was promised once, so each counts
as the command that it came from, which is safe to repeat: a coupon is restored or gets a truthful
record, a payment and a restock count by their reference and key, a cancellation cancels.
"""

from collections.abc import Iterable, Sequence

from chalicelib import journal, telemetry
from chalicelib.commands import fold
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.edit_promotion import MAX_COUPONS
from chalicelib.events import (
    AnyEvent,
    CouponEvent,
    CouponReleased,
    CouponRevoked,
    PromotionCancelled,
    PromotionRestocked,
)


def found(promotion_id: str, told: Sequence[AnyEvent]) -> bool:
    """Whether there are any; `told` is the promotion's journal.

    Raises:
        pynamodb.exceptions.QueryError: the conflicts can't be read.
    """
    return bool(fold.late(told) or journal.conflicts(promotion_id))


def let_count(promotion_id: str, told: Sequence[AnyEvent], outside: Outside) -> int:
    """Let each of them count once; returns how many there were.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException, NotOnRecord: calling again goes on.
    """
    conflicts = journal.conflicts(promotion_id)
    waiting = [*fold.late(told), *journal.parsed(conflicts)]
    for event in _newest_of_each(waiting):
        _let_count(event, outside)
    journal.settle(conflicts)
    if waiting:
        telemetry.count("stragglers", len(waiting), promotion=promotion_id)
    return len(waiting)


def _newest_of_each(waiting: Iterable[AnyEvent]) -> list[AnyEvent]:
    """Of each coupon the newest event, because it carries the whole coupon, and each payment."""
    newest: dict[object, AnyEvent] = {}
    for event in sorted(waiting, key=lambda event: event.version):
        if isinstance(event, CouponEvent):
            place = (event.customer_id, event.number)
            newest[place] = event
            if event.payment_reference is not None:
                newest[*place, event.payment_reference] = event
        else:
            newest[event.version] = event
    return sorted(newest.values(), key=lambda event: event.version)


def _let_count(event: AnyEvent, outside: Outside) -> None:
    sale = event.promotion_id
    if isinstance(event, CouponEvent):
        customer = event.customer_id
        if isinstance(event, CouponRevoked):
            return  # a recovery's own decision
        text = fold.write_coupon(event)
        restored = decide(outside, "restore_coupon", sale, customer, text)
        if restored.outcome != "KNOWN":
            return
        number = restored.reply.detail["at"]
        if event.state in ("PAID", "REFUND_DUE"):
            reference = event.payment_reference or "*"
            decide(outside, "pay", sale, customer, number, reference, "PROMISED")
        elif isinstance(event, CouponReleased) and event.reason == "GIVEN_BACK":
            decide(outside, "give_back", sale, customer, number)
    elif isinstance(event, PromotionRestocked) and event.request_key is not None:
        decide(outside, "restock", sale, event.added, event.request_key, MAX_COUPONS)
    elif isinstance(event, PromotionCancelled):
        decide(outside, "cancel", sale)
