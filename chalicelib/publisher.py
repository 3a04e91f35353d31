"""Publishing events to a broker: one small Protocol, one class per broker.

Another broker is one more class here and one more line in `publisher()`.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol

from chalicelib import clients
from chalicelib.config import settings
from chalicelib.events import AnyEvent

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

# Both brokers take at most ten messages in one call.
BATCH = 10


class BrokerUnavailable(Exception):
    """The broker refused the call, or did not answer it in time; events stay in the outbox."""


class EventPublisher(Protocol):
    """Sends events to whoever projects them, at least once."""

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """Send 1 to `BATCH` events and return those that the broker has acknowledged.

        Raises:
            BrokerUnavailable: nothing is known to have arrived.
        """
        ...


class SnsPublisher:
    """Fan-out: one topic, a queue per projection, filtered by the message attribute `type`."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        """Publish to `topic_arn`."""
        self._client = client
        self._topic_arn = topic_arn

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """See EventPublisher."""
        try:
            answer = self._client.publish_batch(
                TopicArn=self._topic_arn,
                PublishBatchRequestEntries=[
                    {
                        "Id": str(position),
                        "Message": event.to_wire(),
                        "MessageAttributes": {
                            "type": {"DataType": "String", "StringValue": event.type}
                        },
                    }
                    for position, event in enumerate(events)
                ],
            )
        except clients.AWS_ERRORS as error:
            raise BrokerUnavailable(str(error)) from error
        return [events[int(entry["Id"])] for entry in answer.get("Successful", [])]


class SqsPublisher:
    """One queue whose one consumer feeds every projection."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        """Send to `queue_url`."""
        self._client = client
        self._queue_url = queue_url

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """See EventPublisher."""
        try:
            answer = self._client.send_message_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {"Id": str(position), "MessageBody": event.to_wire()}
                    for position, event in enumerate(events)
                ],
            )
        except clients.AWS_ERRORS as error:
            raise BrokerUnavailable(str(error)) from error
        return [events[int(entry["Id"])] for entry in answer.get("Successful", [])]


@cache
def publisher() -> EventPublisher:
    """The publisher that the settings choose."""
    current = settings()
    if current.publisher == "sqs":
        return SqsPublisher(clients.sqs(), current.events_queue_url)
    return SnsPublisher(clients.sns(), current.topic_arn)
