"""The queues, as an operator and a recovery look at them."""

from typing import TYPE_CHECKING

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
    sqs = clients.sqs()
    url = sqs.get_queue_url(QueueName=settings().resource_name(name))["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)
    counts: dict[str, str] = dict(answer["Attributes"].items())
    return sum(int(counts[name]) for name in _COUNTS)


def journal_drained() -> bool:
    """True when nothing is on its way into the journal, by two looks in a row.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    name = "events" if settings().publisher == "sqs" else "journal"
    return depth(name) == 0 and depth(name) == 0
