"""The barrier of a recovery, the direct way into the journal, and who is looked after again."""

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import clients, config, journal, queues
from chalicelib.commands.promotions import close_promotion, find_promotion, live_ids
from chalicelib.events import PromotionCancelled
from chalicelib.wiring import keep_in_journal
from tests.unit.conftest import metrics
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
def test_a_message_in_flight_is_waited_for_until_it_can_only_be_a_dead_letter() -> None:
    sqs = clients.sqs()
    sqs.send_message(QueueUrl=url("journal"), MessageBody="fails, and is tried again")
    sqs.receive_message(QueueUrl=url("journal"))
    assert not queues.journal_drained(1499)
    assert queues.journal_drained(1500)


@pytest.mark.usefixtures("aws")
def test_a_journal_with_a_backlog_is_waited_for_however_long_it_takes() -> None:
    for _ in range(100):
        clients.sqs().send_message(QueueUrl=url("journal"), MessageBody="of any sale")
    assert not queues.journal_drained(3600)


@pytest.mark.usefixtures("aws")
def test_a_journal_whose_every_write_fails_is_not_drained() -> None:
    """All its messages are being tried: none waits, and none has arrived."""
    for _ in range(100):
        clients.sqs().send_message(QueueUrl=url("journal"), MessageBody="of any sale")
    for _ in range(20):
        clients.sqs().receive_message(QueueUrl=url("journal"), MaxNumberOfMessages=10)
    assert queues.depth("journal") == 100
    assert not queues.journal_drained(3600)


@pytest.fixture
def dead_letters(aws: None) -> Callable[..., None]:
    """Put messages into the journal's dead-letter queues, with the attribute `type`."""
    for name in ("journal", "events"):
        clients.sqs().create_queue(QueueName=f"seckill-local-{name}-dlq")

    def put(*bodies: str, name: str = "journal") -> None:
        for body in bodies:
            clients.sqs().send_message(
                QueueUrl=url(f"{name}-dlq"),
                MessageBody=body,
                MessageAttributes={"type": {"DataType": "String", "StringValue": "CouponPaid"}},
            )

    return put


def test_a_dead_letter_is_sent_on_once_though_its_consumer_puts_it_back_at_once(
    dead_letters: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letters("poison", "also poison")
    sqs = clients.sqs()
    send = sqs.send_message
    back = url("journal-dlq")
    monkeypatch.setattr(sqs, "send_message", lambda **sent: send(**{**sent, "QueueUrl": back}))
    assert queues.send_on("journal") == 2
    assert queues.depth("journal-dlq") == 2


def test_a_dead_letter_is_sent_on_with_its_attributes(dead_letters: Callable[..., None]) -> None:
    dead_letters("a letter")
    assert queues.send_on("journal") == 1
    sqs = clients.sqs()
    got = sqs.receive_message(QueueUrl=url("journal"), MessageAttributeNames=["All"])
    [message] = got["Messages"]
    assert message["MessageAttributes"]["type"]["StringValue"] == "CouponPaid"
    assert queues.depth("journal-dlq") == 0


def test_no_more_dead_letters_are_sent_on_than_asked_for(
    dead_letters: Callable[..., None],
) -> None:
    dead_letters(*(f"letter {n}" for n in range(25)))
    assert queues.send_on("journal", most=12) == 12
    assert (queues.depth("journal"), queues.depth("journal-dlq")) == (12, 13)


def event_of(sale: str, version: int = 1) -> str:
    counts: dict[str, Any] = {"at": 1, "stock": 2, "available": 2, "held": 0, "sold": 0}
    event = PromotionCancelled(promotion_id=sale, version=version, reason="CANCELLED", **counts)
    return event.to_wire()


@pytest.mark.parametrize(("publisher", "mine"), [("sns", "journal"), ("sqs", "events")])
def test_the_dead_letters_of_one_sale_are_taken_and_all_others_stay(
    dead_letters: Callable[..., None], monkeypatch: pytest.MonkeyPatch, publisher: str, mine: str
) -> None:
    monkeypatch.setenv("PUBLISHER", publisher)
    config.settings.cache_clear()
    others = ["poison", *(event_of("theirs", version) for version in range(1, 24))]
    dead_letters(*others[:12], event_of("ours", 1), *others[12:], event_of("ours", 2), name=mine)
    taken: list[str] = []
    assert queues.take_dead_letters("ours", taken.append) == 2
    assert sorted(taken) == [event_of("ours", 1), event_of("ours", 2)]
    assert queues.depth(f"{mine}-dlq") == len(others)
    assert queues.take_dead_letters("ours", taken.append) == 0


def test_a_dead_letter_that_is_not_taken_stays(dead_letters: Callable[..., None]) -> None:
    dead_letters(event_of("ours"))

    def refuse(_: str) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        queues.take_dead_letters("ours", refuse)
    assert queues.depth("journal-dlq") == 1


def test_no_more_dead_letters_are_looked_at_than_asked_for(
    dead_letters: Callable[..., None],
) -> None:
    dead_letters(*(event_of("ours", version) for version in range(1, 16)))
    assert queues.take_dead_letters("ours", lambda _: None, most=12) == 12


def test_an_empty_dead_letter_queue_is_not_received_from(
    dead_letters: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients.sqs(), "receive_message", None)
    assert queues.take_dead_letters("ours", print) == 0


def test_a_stage_without_a_dead_letter_queue_has_no_dead_letters(
    aws: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert queues.take_dead_letters("ours", print) == 0
    assert metrics(capsys.readouterr().out, "queue_missing")


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
