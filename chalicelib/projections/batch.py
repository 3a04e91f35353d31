"""From a Lambda's SQS batch to a projection: good messages are done, failed ones come again.

Chalice can't switch on ReportBatchItemFailures, so a returned list of failures would be
ignored and the failed messages deleted. Therefore: delete the successes here, then raise. What
failed becomes visible again and ends in the DLQ when it has failed too often. What can't be read
will never be: it goes to the DLQ at once, and holds up nobody who waits for the queue to empty.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BasePartialProcessor, BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from chalicelib import clients, events, telemetry
from chalicelib.events import AnyEvent, InvalidEvent
from chalicelib.timers import InvalidTimer

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

Projection = Callable[[AnyEvent], None]
Filter = Callable[[Iterable[AnyEvent]], set[tuple[str, int]]]


class BatchFailed(Exception):
    """Some messages of a batch failed; the others are done and deleted."""


def project(records: list[Mapping[str, Any]], *projections: Projection) -> None:
    """Give the event of each record to each of `projections`.

    Raises:
        BatchFailed: at least one message failed; it stays in the queue, the others do not.
    """

    def handle(record: SQSRecord) -> None:
        event = events.parse(record.body)
        for projection in projections:
            projection(event)

    _process(records, handle)


def each(records: list[Mapping[str, Any]], do: Callable[[str], object]) -> None:
    """Give each record's body to `do`: for messages that are not events.

    Raises:
        BatchFailed: see `project`.
    """
    _process(records, lambda record: do(record.body))


def project_what_matters(
    records: list[Mapping[str, Any]], matters: Filter, projection: Projection
) -> None:
    """The same for a projection whose rows many events share: the others need no write.

    An event that is passed over is covered by a newer one of this batch, which stays in the
    queue if its own write fails.

    Raises:
        BatchFailed: see `project`.
    """
    needed = matters(_readable(records))

    def handle(record: SQSRecord) -> None:
        event = events.parse(record.body)
        if (event.promotion_id, event.version) in needed:
            projection(event)

    _process(records, handle)


def _readable(records: Iterable[Mapping[str, Any]]) -> Iterable[AnyEvent]:
    for record in records:
        try:
            yield events.parse(record["body"])
        except InvalidEvent:
            continue  # the same record fails, and is reported, when it is handled


def _process(records: list[Mapping[str, Any]], handle: Callable[[SQSRecord], object]) -> None:
    def handle_or_bury(record: SQSRecord) -> None:
        try:
            handle(record)
        except (InvalidEvent, InvalidTimer) as error:
            telemetry.count("message_unreadable", message=record.message_id, reason=str(error))
            _bury(record)

    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    results = _run(processor, records, handle_or_bury)
    failed = [
        (record, reason)
        for record, (status, reason, _) in zip(records, results, strict=True)
        if status == "fail"
    ]
    if not failed:
        return
    for record, reason in failed:
        telemetry.count("message_failed", message=record["messageId"], reason=str(reason))
    done = [
        record for record, result in zip(records, results, strict=True) if result[0] == "success"
    ]
    _delete(done)
    message = f"{len(failed)} of {len(records)} messages failed, the first: {failed[0][1]}"
    raise BatchFailed(message)


def _run(
    processor: BasePartialProcessor,
    records: list[Mapping[str, Any]],
    handle: Callable[[SQSRecord], object],
) -> list[Any]:
    with processor(records=list(records), handler=handle):  # type: ignore[arg-type]
        return processor.process()


def _bury(record: SQSRecord) -> None:
    """Into the dead-letter queue with it; should that fail, it gets there by itself, later."""
    sqs = clients.sqs()
    dead_letters = _queue_url(sqs, f"{record.event_source_arn}-dlq")
    more: Any = {"MessageAttributes": attributes} if (attributes := _attributes(record)) else {}
    sqs.send_message(QueueUrl=dead_letters, MessageBody=record.body, **more)


def _attributes(record: SQSRecord) -> dict[str, dict[str, str]]:
    """The message's attributes as SQS takes them; Lambda spells them otherwise."""
    told: dict[str, Mapping[str, Any]] = record.get("messageAttributes") or {}
    return {
        name: {"DataType": value["dataType"], "StringValue": value["stringValue"]}
        for name, value in told.items()
        if value.get("stringValue") is not None
    }


def _delete(records: list[Mapping[str, Any]]) -> None:
    if not records:
        return
    sqs = clients.sqs()
    sqs.delete_message_batch(
        QueueUrl=_queue_url(sqs, records[0]["eventSourceARN"]),
        Entries=[
            {"Id": str(position), "ReceiptHandle": record["receiptHandle"]}
            for position, record in enumerate(records)
        ],
    )


@cache
def _queue_url(sqs: "SQSClient", arn: str) -> str:
    return sqs.get_queue_url(QueueName=arn.rsplit(":", 1)[1])["QueueUrl"]
