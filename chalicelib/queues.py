"""The queues, as an operator and a recovery look at them."""

from typing import TYPE_CHECKING, Any

from chalicelib import clients
from chalicelib.config import settings

if TYPE_CHECKING:
    from mypy_boto3_sqs.literals import QueueAttributeFilterType

_COUNTS: list["QueueAttributeFilterType"] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


def depth(name: str) -> int:
    """How many messages wait in, or are being worked on from, a queue of this stage.

    AWS counts approximately; the number settles within a minute.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    answer = clients.sqs().get_queue_attributes(QueueUrl=_url(name), AttributeNames=_COUNTS)
    counts: dict[str, str] = dict(answer["Attributes"].items())
    return sum(int(counts[name]) for name in _COUNTS)


CONSUMED = ("journal", "coupons", "active-promotions", "events", "timers")


def dead_letters(sample: int = 10) -> dict[str, dict[str, Any]]:
    """How many messages each dead-letter queue has, and the first few of them.

    Looking hides a message for a moment and counts as a delivery; a dead-letter queue does not
    mind.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    found = {}
    for name in CONSUMED:
        count = depth(f"{name}-dlq")
        found[name] = {"count": count, "bodies": _peek(f"{name}-dlq", sample) if count else []}
    return found


def send_on(name: str, most: int = 1000) -> int:
    """Move dead letters back into the queue they came from; returns how many.

    Sent first and deleted after, so an interruption repeats a message and loses none. In the
    cloud the console's own redrive does the same for any number.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    sqs = clients.sqs()
    source, target = _url(f"{name}-dlq"), _url(name)
    moved = 0
    while moved < most:
        got = sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10).get("Messages", [])
        if not got:
            break
        for message in got:
            sqs.send_message(QueueUrl=target, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        moved += len(got)
    return moved


def _peek(name: str, sample: int) -> list[str]:
    got = clients.sqs().receive_message(
        QueueUrl=_url(name), MaxNumberOfMessages=min(sample, 10), VisibilityTimeout=0
    )
    return [message["Body"] for message in got.get("Messages", [])]


def _url(name: str) -> str:
    return clients.sqs().get_queue_url(QueueName=settings().resource_name(name))["QueueUrl"]


def journal_drained() -> bool:
    """True when nothing is on its way into the journal, by two looks in a row.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    name = "events" if settings().publisher == "sqs" else "journal"
    return depth(name) == 0 and depth(name) == 0
