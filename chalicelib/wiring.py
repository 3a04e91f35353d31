"""What commands work with, put together: the one place where the write and the read side meet."""

from pynamodb.exceptions import PynamoDBException

from chalicelib import clients, events, journal, queues, telemetry, timers
from chalicelib.commands.decision import Outside
from chalicelib.commands.promotions import look_after_again
from chalicelib.commands.reconcile import Tables
from chalicelib.commands.recover import Repair
from chalicelib.config import settings
from chalicelib.events import AnyEvent
from chalicelib.projections.rebuild import rebuild
from chalicelib.publisher import publisher
from chalicelib.queries.audit import coupon_rows, projected_counts


def outside() -> Outside:
    """What commands work with."""
    arm = timers.queue_timers(clients.sqs(), settings().timers_queue_url)
    return Outside(clients.store(), publisher(), arm, keep_in_journal)


def keep_in_journal(event: AnyEvent) -> bool:
    """Put an event into the journal that the broker did not take; the outbox has it as well.

    The sweep watches the promotion until the outbox is empty, also if it was over for long.
    Returns whether the journal has it.
    """
    try:
        journal.append(event)
        look_after_again(event.promotion_id)
    except (PynamoDBException, *clients.AWS_ERRORS) as error:
        telemetry.count("journal_unavailable", promotion=event.promotion_id, reason=str(error))
        return False
    return True


def read_tables(promotion_id: str) -> Tables:
    """A promotion's read tables, for an audit."""
    return Tables(coupon_rows(promotion_id), projected_counts(promotion_id))


def journal_dead_letters(promotion_id: str) -> int:
    """Put a promotion's dead letters of the journal's queue into the journal; returns how many.

    Raises:
        pynamodb.exceptions.PutError: the table can't be written; they stay where they are.
    """

    def take(body: str) -> None:
        journal.append(events.parse(body))

    return queues.take_dead_letters(promotion_id, take)


def repair() -> Repair:
    """What recoveries need from the read side."""
    return Repair(queues.journal_drained, rebuild, journal_dead_letters)
