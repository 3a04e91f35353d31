"""The queues, as an operator and a recovery look at them."""

from typing import TYPE_CHECKING, Any

from chalicelib import clients
from chalicelib.config import settings

if TYPE_CHECKING:
    from mypy_boto3_sqs.literals import QueueAttributeFilterType

_WAITING: "QueueAttributeFilterType" = "ApproximateNumberOfMessages"
_COUNTS: list["QueueAttributeFilterType"] = [
    _WAITING,
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


def depth(name: str) -> int:
    """How many messages wait in, or are being worked on from, a queue of this stage.

    AWS counts approximately; the number settles within a minute.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    return sum(_counts(name).values())


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


def _counts(name: str) -> dict[str, int]:
    answer = clients.sqs().get_queue_attributes(QueueUrl=_url(name), AttributeNames=_COUNTS)
    counts: dict[str, str] = dict(answer["Attributes"].items())
    return {count: int(counts[count]) for count in _COUNTS}


def _url(name: str) -> str:
    return clients.sqs().get_queue_url(QueueName=settings().resource_name(name))["QueueUrl"]


# The queue's visibility timeout is a minute: what has failed was tried again by then, and again.
_PATIENCE_S = 150.0
# Less than that is no backlog: consumers take it in a moment.
_BACKLOG = 100


def journal_drained(waited_s: float) -> bool:
    """True when what was sent `waited_s` ago has arrived in the journal.

    That is sure when its queue is empty, by two looks in a row. Other sales may never let it be;
    then it is as good as sure after 150 seconds without a backlog.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    name = "events" if settings().publisher == "sqs" else "journal"
    if waited_s >= _PATIENCE_S and _counts(name)[_WAITING] < _BACKLOG:
        return True
    return depth(name) == 0 and depth(name) == 0
