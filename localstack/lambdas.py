"""What runs the app's queue consumers and schedules, as Lambda and EventBridge would.

Which function is fed from which queue, and when each schedule fires, is read from the Chalice
app itself; there is no second list. Run as `python -m localstack.lambdas`.
"""

import os
import re
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from chalice.app import ScheduledEventConfig, ScheduleExpression, SQSEventConfig
from chalice.local import LambdaContext

import app as entry_points
from chalicelib.config import settings
from localstack.provision import REGION, session

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_TIMEOUT_MS = 10_000
_POLL_S = 1
_POLLERS = 16
_UNIT_S = {"minute": 60, "hour": 3600, "day": 86_400}


def sqs_event(messages: "list[MessageTypeDef]", queue_arn: str) -> dict[str, Any]:
    """The event that Lambda makes of messages received from a queue."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": dict(message.get("Attributes", {})),
                "messageAttributes": {},
                "md5OfBody": message.get("MD5OfBody", ""),
                "eventSource": "aws:sqs",
                "eventSourceARN": queue_arn,
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


def scheduled_event(name: str) -> dict[str, Any]:
    """The event that an EventBridge rule sends."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:000000000000:rule/{name}"],
        "detail": {},
    }


@dataclass(frozen=True, slots=True)
class Source:
    """A queue and how a function is fed from it, as its event source mapping says."""

    queue_url: str
    queue_arn: str
    batch: int = 10
    window_s: int = 0


def feed(sqs: "SQSClient", source: Source, handler: Callable[..., Any]) -> int:
    """Receive one batch and give it to `handler`; returns the number of messages.

    As with Lambda: a handler that returns has done the whole batch, and it is deleted; one that
    raises has done none of it, and what it did not delete itself becomes visible again.
    """
    messages = _receive(sqs, source, _POLL_S)
    until = time.monotonic() + source.window_s
    while 0 < len(messages) < source.batch and time.monotonic() < until:
        messages += _receive(sqs, replace(source, batch=source.batch - len(messages)), _POLL_S)
    if messages and _invoke(handler, sqs_event(messages, source.queue_arn)):
        sqs.delete_message_batch(
            QueueUrl=source.queue_url,
            Entries=[
                {"Id": str(position), "ReceiptHandle": message["ReceiptHandle"]}
                for position, message in enumerate(messages)
            ],
        )
    return len(messages)


def _receive(sqs: "SQSClient", source: Source, wait_s: int) -> "list[MessageTypeDef]":
    received = sqs.receive_message(
        QueueUrl=source.queue_url,
        MaxNumberOfMessages=source.batch,
        WaitTimeSeconds=wait_s,
        MessageSystemAttributeNames=["All"],
    )
    return received.get("Messages", [])


def _invoke(handler: Callable[..., Any], event: dict[str, Any]) -> bool:
    context = LambdaContext(type(handler).__name__, 512, max_runtime_ms=_TIMEOUT_MS)
    try:
        handler(event, context)
    except Exception:  # noqa: BLE001 - as Lambda does: whatever a function raises, the next runs
        traceback.print_exc()
        return False
    return True


def _poll(config: SQSEventConfig, stop: threading.Event) -> None:
    timeouts = Config(read_timeout=10, connect_timeout=1, retries={"total_max_attempts": 1})
    sqs: SQSClient = session(settings().aws_endpoint_url or "").client("sqs", config=timeouts)
    handler = _function(config.handler_string)
    source: Source | None = None
    while not stop.is_set():
        try:
            source = source or _source(sqs, config)
            feed(sqs, source, handler)
        except (BotoCoreError, ClientError) as error:
            print(f"{config.queue}: {error}", file=sys.stderr, flush=True)
            stop.wait(_POLL_S)


def _source(sqs: "SQSClient", config: SQSEventConfig) -> Source:
    url = sqs.get_queue_url(QueueName=config.queue or "")["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    window_s = config.maximum_batching_window_in_seconds
    return Source(url, answer["Attributes"]["QueueArn"], config.batch_size, window_s)


def _fire(config: ScheduledEventConfig, period_s: int, stop: threading.Event) -> None:
    handler = _function(config.handler_string)
    while not stop.wait(period_s):
        _invoke(handler, scheduled_event(config.name))


def period_of(schedule: ScheduleExpression | str) -> int:
    """Seconds of a `rate(n minutes)` schedule."""
    expression = schedule if isinstance(schedule, str) else schedule.to_string()
    match = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if match is None:
        message = f"only rate(...) schedules run locally, not {expression}"
        raise ValueError(message)
    return int(match[1]) * _UNIT_S[match[2]]


def _function(handler_string: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(entry_points, handler_string.rsplit(".", 1)[1])
    return function


def _end_process(failure: threading.ExceptHookArgs) -> None:
    """A thread that dies takes the process along: the supervisor sees it, and nobody waits."""
    traceback.print_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)
    os._exit(1)


def _thread(target: Callable[..., None], *args: object) -> threading.Thread:
    return threading.Thread(target=target, args=args, daemon=True)


def main() -> None:
    """Feed all consumers and fire all schedules until SIGTERM."""
    stop = threading.Event()
    threading.excepthook = _end_process
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads: list[threading.Thread] = []
    for config in entry_points.app.event_sources:
        if isinstance(config, SQSEventConfig):
            # Lambda scales its pollers; what takes one message at a time needs several.
            pollers = _POLLERS if config.batch_size == 1 else 1
            threads += [_thread(_poll, config, stop) for _ in range(pollers)]
        elif isinstance(config, ScheduledEventConfig):
            period_s = period_of(config.schedule_expression)
            threads.append(_thread(_fire, config, period_s, stop))
        else:
            message = f"{config.name}: only queues and schedules are fed locally"
            raise TypeError(message)
    for thread in threads:
        thread.start()
    print(f"running {len(entry_points.app.event_sources)} functions", flush=True)
    stop.wait()


if __name__ == "__main__":
    main()
