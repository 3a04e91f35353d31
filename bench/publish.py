"""Publishing against the plainest single call to the same broker, per event."""

from collections.abc import Callable, Iterator
from decimal import Decimal

from bench.promotions import expect
from bench.rows import Row, compare, per_second, take_turns
from chalicelib import clients
from chalicelib.events import CouponGrabbed
from chalicelib.publisher import BATCH, EventPublisher, SnsPublisher, SqsPublisher
from localstack.cloud import LocalCloud

_ROUNDS = 5
_CALLS = 20
_SNS, _SQS = "SNS Publish", "SQS SendMessage"


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Events per second of both publishers, one event at a time and in full batches."""
    topic, queue = cloud.environ["TOPIC_ARN"], cloud.environ["EVENTS_QUEUE_URL"]
    sns, sqs = clients.sns(), clients.sqs()
    events = [_event(number) for number in range(1, BATCH + 1)]
    body = events[0].to_wire()

    def side(publisher: EventPublisher, size: int) -> Callable[[], float]:
        batch = events[:size]

        def publish() -> None:
            expect(len(publisher.publish(batch)), size)

        return lambda: size * per_second(publish, _CALLS)

    def plain(call: Callable[[], object]) -> Callable[[], float]:
        return lambda: per_second(call, _CALLS)

    by_sns, by_sqs = SnsPublisher(sns, topic), SqsPublisher(sqs, queue)
    figures = take_turns(
        {
            _SNS: plain(lambda: sns.publish(TopicArn=topic, Message=body)),
            "SNS publisher, 1 event": side(by_sns, 1),
            f"SNS publisher, {BATCH} events": side(by_sns, BATCH),
            _SQS: plain(lambda: sqs.send_message(QueueUrl=queue, MessageBody=body)),
            "SQS publisher, 1 event": side(by_sqs, 1),
            f"SQS publisher, {BATCH} events": side(by_sqs, BATCH),
        },
        _ROUNDS,
    )
    for name in figures:
        if "publisher" in name:
            against = _SNS if name.startswith("SNS") else _SQS
            yield compare(figures, name, "events/s", against=against)


def _event(version: int) -> CouponGrabbed:
    return CouponGrabbed(
        promotion_id="bench", version=version, at=1_700_000_000_000, stock=BATCH,
        available=BATCH - version, held=0, sold=version, customer_id=f"customer-{version}",
        number=version, discount=Decimal("0.5"), grabbed_at=1_700_000_000_000,
    )  # fmt: skip
