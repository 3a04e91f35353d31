"""A batch with a bad message: the good ones are done once, the bad one ends in the DLQ."""

import json
from collections.abc import Callable
from typing import Any

import pytest

import app as entry_points
from chalicelib import clients, journal
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.events import AnyEvent
from chalicelib.journal import EventRow
from chalicelib.projections import batch
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.batch import BatchFailed
from chalicelib.projections.coupons import CouponRow
from localstack import lambdas
from localstack.lambdas import Source, feed
from tests.unit.conftest import Broker, metrics

POISON = '{"type": "CouponGrabbed", "promotionId": "sale"'


def queue_with_dlq(name: str) -> tuple[str, str]:
    """The queue's and its dead-letter queue's URL; three failures, at once visible again."""
    sqs = clients.sqs()
    dlq = sqs.create_queue(QueueName=f"seckill-local-{name}-dlq")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:seckill-local-{name}-dlq"
    url = sqs.get_queue_url(QueueName=f"seckill-local-{name}")["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    attributes: Any = {"RedrivePolicy": redrive, "VisibilityTimeout": "0"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    return url, dlq


def drain(url: str, name: str, handler: Callable[..., Any]) -> None:
    """Feed `handler` as Lambda would until the queue is empty."""
    arn = f"arn:aws:sqs:us-east-1:123456789012:seckill-local-{name}"
    for _ in range(20):
        if not feed(clients.sqs(), Source(url, arn), handler):
            return
    pytest.fail("the queue does not get empty")


def bodies(url: str) -> list[str]:
    got = clients.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [message["Body"] for message in got.get("Messages", [])]


@pytest.fixture(autouse=True)
def _empty_queues_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambdas, "_POLL_S", 0)


@pytest.fixture
def nine_events(promotion: Callable[..., str], outside: Outside, broker: Broker) -> list[str]:
    sale = promotion(stock=100)
    for n in range(8):
        grab_coupon(GrabCoupon(sale, f"customer-{n}"), outside)
    return [event.to_wire() for event in broker.published]


@pytest.mark.parametrize(
    ("name", "handler", "model", "rows"),
    [
        ("journal", entry_points.on_journal_messages, EventRow, 9),
        ("coupons", entry_points.on_coupon_messages, CouponRow, 8),
        ("active-promotions", entry_points.on_active_promotion_messages, ActivePromotionRow, 1),
        ("events", entry_points.on_all_messages, EventRow, 9),
    ],
)
def test_of_ten_messages_nine_are_done_and_the_poison_ends_in_the_dlq(
    aws: None, nine_events: list[str], name: str, handler: Any, model: Any, rows: int
) -> None:
    url, dlq = queue_with_dlq(name)
    for body in [*nine_events[:4], POISON, *nine_events[4:]]:
        clients.sqs().send_message(QueueUrl=url, MessageBody=body)
    drain(url, name, handler)
    assert len(list(model.scan())) == rows
    assert bodies(dlq) == [POISON]


def test_the_good_ones_of_a_failed_batch_are_not_delivered_again(
    aws: None, nine_events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, dlq = queue_with_dlq("journal")
    for body in nine_events:
        clients.sqs().send_message(QueueUrl=url, MessageBody=body)

    def refuse_the_third(event: AnyEvent) -> None:
        if event.version == 3:
            message = "this row just now"
            raise LookupError(message)
        journal.append(event)

    monkeypatch.setattr("chalicelib.projections.journal.on_event", refuse_the_third)
    arn = "arn:aws:sqs:us-east-1:123456789012:seckill-local-journal"
    assert feed(clients.sqs(), Source(url, arn), entry_points.on_journal_messages) == 9
    assert bodies(url) == [nine_events[2]]
    assert len(list(EventRow.scan())) == 8
    drain(url, "journal", entry_points.on_journal_messages)
    assert bodies(dlq) == [nine_events[2]]


@pytest.mark.parametrize("name", ["journal", "coupons", "active-promotions", "events", "timers"])
def test_what_can_not_be_read_goes_to_the_dlq_at_its_first_delivery(
    aws: None, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recovery waits for the journal's queue to empty; nobody may hold that up with garbage."""
    url, dlq = queue_with_dlq(name)
    clients.sqs().send_message(QueueUrl=url, MessageBody=POISON)
    handler = {
        "journal": entry_points.on_journal_messages,
        "coupons": entry_points.on_coupon_messages,
        "active-promotions": entry_points.on_active_promotion_messages,
        "events": entry_points.on_all_messages,
        "timers": entry_points.on_timer_messages,
    }[name]
    arn = f"arn:aws:sqs:us-east-1:123456789012:seckill-local-{name}"
    assert feed(clients.sqs(), Source(url, arn), handler) == 1
    assert (bodies(url), bodies(dlq)) == ([], [POISON])
    assert metrics(capsys.readouterr().out, "message_unreadable")


def test_what_can_not_be_read_keeps_its_attributes_in_the_dlq(aws: None) -> None:
    _, dlq = queue_with_dlq("journal")
    told = {"stringValue": "CouponPaid", "dataType": "String"}
    record = {
        "messageId": "1",
        "receiptHandle": "r",
        "body": POISON,
        "messageAttributes": {"type": told},
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:seckill-local-journal",
    }
    batch.project([record], journal.append)  # type: ignore[arg-type]
    got = clients.sqs().receive_message(QueueUrl=dlq, MessageAttributeNames=["All"])
    [message] = got["Messages"]
    assert message["MessageAttributes"]["type"]["StringValue"] == "CouponPaid"


def test_what_can_not_be_read_is_not_lost_when_the_dlq_is_away(aws: None) -> None:
    """There is no dead-letter queue yet: the message stays where it is."""
    clients.sqs().send_message(
        QueueUrl=(
            url := clients.sqs().get_queue_url(QueueName="seckill-local-journal")["QueueUrl"]
        ),
        MessageBody=POISON,
    )
    clients.sqs().set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    arn = "arn:aws:sqs:us-east-1:123456789012:seckill-local-journal"
    feed(clients.sqs(), Source(url, arn), entry_points.on_journal_messages)
    assert bodies(url) == [POISON]


def test_a_message_sent_on_from_the_dlq_after_a_fix_is_done_once(
    aws: None, nine_events: list[str]
) -> None:
    url, dlq = queue_with_dlq("coupons")
    CouponRow.delete_table()
    clients.sqs().send_message(QueueUrl=url, MessageBody=nine_events[1])
    drain(url, "coupons", entry_points.on_coupon_messages)
    CouponRow.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
    [body] = bodies(dlq)
    clients.sqs().send_message(QueueUrl=url, MessageBody=body)
    drain(url, "coupons", entry_points.on_coupon_messages)
    assert [row.customer_id for row in CouponRow.scan()] == ["customer-0"]


def test_a_table_that_is_away_fails_the_batch_and_says_so(
    aws: None, nine_events: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = queue_with_dlq("coupons")
    CouponRow.delete_table()
    clients.sqs().send_message(QueueUrl=url, MessageBody=nine_events[1])
    got = clients.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    event = {
        "Records": [
            {
                "messageId": got[0]["MessageId"],
                "receiptHandle": got[0]["ReceiptHandle"],
                "body": got[0]["Body"],
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:seckill-local-coupons",
                "eventSource": "aws:sqs",
            }
        ]
    }
    with pytest.raises(BatchFailed):
        entry_points.on_coupon_messages(event, None)
    assert metrics(capsys.readouterr().out, "message_failed")
    assert bodies(url) == [nine_events[1]]


def test_an_unknown_type_kills_no_consumer(aws: None) -> None:
    gilded = '{"type":"CouponGilded","promotionId":"sale","version":1,"at":6}'
    for name, handler in (
        ("coupons", entry_points.on_coupon_messages),
        ("active-promotions", entry_points.on_active_promotion_messages),
        ("journal", entry_points.on_journal_messages),
    ):
        url, dlq = queue_with_dlq(name)
        clients.sqs().send_message(QueueUrl=url, MessageBody=gilded)
        drain(url, name, handler)
        assert bodies(dlq) == []
    assert [row.type for row in EventRow.scan()] == ["CouponGilded"]
