"""The queues, as an operator and a recovery look at them."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from chalicelib import clients, events, telemetry
from chalicelib.config import settings
from chalicelib.events import InvalidEvent

if TYPE_CHECKING:
    from mypy_boto3_sqs.literals import QueueAttributeFilterType
    from mypy_boto3_sqs.type_defs import MessageTypeDef

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
    return sum(_counts(name))


def _counts(name: str) -> tuple[int, int, int]:
    """How many messages wait, are in flight, and are delayed."""
    answer = clients.sqs().get_queue_attributes(QueueUrl=_url(name), AttributeNames=_COUNTS)
    counts: dict[str, str] = dict(answer["Attributes"].items())
    waiting, in_flight, delayed = (int(counts[count]) for count in _COUNTS)
    return waiting, in_flight, delayed


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

    Sent first and deleted after, so an interruption repeats a message and loses none. Each is sent
    on once per call, also where its consumer puts it back at once. In the cloud the console's own
    redrive does the same for any number.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    sqs = clients.sqs()
    source, target = _url(f"{name}-dlq"), _url(name)
    sent: set[str] = set()
    moved = 0
    for message in _received(source, min(most, depth(f"{name}-dlq"))):
        body = message["Body"]
        if body in sent:
            continue  # it was put back, or is there twice: the next call sends it on
        attributes = message.get("MessageAttributes")
        more: Any = {"MessageAttributes": attributes} if attributes else {}
        sqs.send_message(QueueUrl=target, MessageBody=body, **more)
        sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        sent.add(body)
        moved += 1
    return moved


def take_dead_letters(promotion_id: str, take: Callable[[str], None], most: int = 1000) -> int:
    """Give each event of a promotion among the journal's dead letters to `take`; returns how many.

    A message is deleted once `take` has returned. The others stay, hidden for half a minute. At
    most `most` messages are looked at. A stage without such a queue has no dead letters; that is
    counted, because SQS says the same of a queue that the function may not access.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    sqs = clients.sqs()
    name = f"{_journal()}-dlq"
    try:
        if depth(name) == 0:
            return 0
    except sqs.exceptions.QueueDoesNotExist:
        telemetry.count("queue_missing", queue=name)
        return 0
    url = _url(name)
    taken = 0
    for message in _received(url, most):
        if _promotion_of(message["Body"]) != promotion_id:
            continue
        take(message["Body"])
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        taken += 1
    return taken


def _promotion_of(body: str) -> str | None:
    try:
        return events.parse(body).promotion_id
    except InvalidEvent:
        return None


# Long enough that one call meets no message twice, short enough for the next call.
_HIDDEN_S = 30
# SQS asks only some of its servers, so one empty answer does not prove that the queue is empty.
_EMPTY_ANSWERS = 3


def _received(url: str, most: int) -> Iterator["MessageTypeDef"]:
    """Up to `most` messages of a queue, each once while it stays hidden."""
    sqs = clients.sqs()
    seen: set[str] = set()
    empty = 0
    while len(seen) < most and empty < _EMPTY_ANSWERS:
        got = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=min(10, most - len(seen)),
            VisibilityTimeout=_HIDDEN_S,
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        new = [message for message in got if message["MessageId"] not in seen]
        empty = 0 if new else empty + 1
        for message in new:
            seen.add(message["MessageId"])
            yield message


def _peek(name: str, sample: int) -> list[str]:
    got = clients.sqs().receive_message(
        QueueUrl=_url(name), MaxNumberOfMessages=min(sample, 10), VisibilityTimeout=0
    )
    return [message["Body"] for message in got.get("Messages", [])]


def _url(name: str) -> str:
    return clients.sqs().get_queue_url(QueueName=settings().resource_name(name))["QueueUrl"]


# The queue's visibility timeout is a minute: what has failed was tried again by then, and again.
_PATIENCE_S = 150.0
# What has failed 20 times, a minute apart, is a dead letter by then: see the template.
_ALL_DECIDED_S = 1500.0
# Less than that is no backlog: consumers take it in a moment.
_BACKLOG = 100


def journal_drained(waited_s: float) -> bool:
    """True when what was sent `waited_s` ago has arrived in the journal.

    That is sure when its queue is empty, by two looks in a row. Other sales may never let it be.
    Then nothing may be in flight after 150 seconds without a backlog: a message that fails is in
    flight until its next try. After 25 minutes it is in the journal or a dead letter. A journal
    whose every write fails has all its messages in flight, and has drained nothing.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    waiting, in_flight, delayed = _counts(_journal())
    total = waiting + in_flight + delayed
    if total == 0:
        return depth(_journal()) == 0
    patience_s = _ALL_DECIDED_S if in_flight else _PATIENCE_S
    return waited_s >= patience_s and total < _BACKLOG


def _journal() -> str:
    """The queue that the journal is fed from."""
    return "events" if settings().publisher == "sqs" else "journal"
