"""The barrier of a recovery, the direct way into the journal, and who is looked after again."""

from typing import Any

import pytest

from chalicelib import clients, config, journal, queues
from chalicelib.commands.promotions import close_promotion, find_promotion, live_ids
from chalicelib.events import PromotionCancelled
from chalicelib.wiring import keep_in_journal
from tests.unit.test_recover import Live, live

__all__ = ["live"]


def url(name: str) -> str:
    return clients.sqs().get_queue_url(QueueName=f"seckill-local-{name}")["QueueUrl"]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(("publisher", "mine"), [("sns", "journal"), ("sqs", "events")])
def test_the_journal_is_behind_while_its_queue_has_a_message_of_any_kind(
    publisher: str, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLISHER", publisher)
    config.settings.cache_clear()
    sqs = clients.sqs()
    sqs.send_message(QueueUrl=url("coupons"), MessageBody="another queue's")
    assert queues.journal_drained(0)
    sqs.send_message(QueueUrl=url(mine), MessageBody="waits")
    assert not queues.journal_drained(0)
    [taken] = sqs.receive_message(QueueUrl=url(mine))["Messages"]
    assert not queues.journal_drained(0), "somebody works on it"
    sqs.delete_message(QueueUrl=url(mine), ReceiptHandle=taken["ReceiptHandle"])
    assert queues.journal_drained(0)
    sqs.send_message(QueueUrl=url(mine), MessageBody="comes later", DelaySeconds=60)
    assert not queues.journal_drained(0)


@pytest.mark.usefixtures("aws")
def test_a_journal_that_other_sales_keep_busy_is_waited_for_a_while_and_not_for_ever() -> None:
    send = clients.sqs().send_message
    send(QueueUrl=url("journal"), MessageBody="of another sale")
    assert not queues.journal_drained(149)
    assert queues.journal_drained(150)


@pytest.mark.usefixtures("aws")
def test_a_journal_with_a_backlog_is_waited_for_however_long_it_takes() -> None:
    for _ in range(100):
        clients.sqs().send_message(QueueUrl=url("journal"), MessageBody="of any sale")
    assert not queues.journal_drained(3600)


def test_what_is_kept_in_the_journal_has_its_promotion_looked_after_again(live: Live) -> None:
    """Its outbox may still have the event, long after the sweep has let go of the promotion."""
    sale = live()
    close_promotion(sale, "FINISHED")
    assert sale not in live_ids()
    counts: dict[str, Any] = {"at": 1, "stock": 2, "available": 2, "held": 0, "sold": 0}
    event = PromotionCancelled(promotion_id=sale, version=9, reason="CANCELLED", **counts)
    assert keep_in_journal(event)
    assert [told.version for told in journal.read(sale)] == [9]
    assert sale in live_ids()
    row = find_promotion(sale)
    assert row is not None
    assert row.closed_as == "FINISHED"
