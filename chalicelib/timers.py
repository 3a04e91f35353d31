"""Timers: somebody has to touch a promotion when something is due and nobody grabs.

A timer is a delayed message in a queue. It decides nothing: a lost, late or doubled timer
changes no outcome, only when it is told without traffic. Every sweep makes up for lost ones.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chalicelib import telemetry
from chalicelib.clients import AWS_ERRORS

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# The longest delay that SQS takes.
MAX_DELAY_S = 900
# The time of a timer that asks for a look at once: somebody doubts the promotion's state.
DOUBT = 0
# What sending and receiving a message takes.
EARLY_MS = 200


class InvalidTimer(ValueError):
    """A message in the timers' queue is no timer."""


@dataclass(frozen=True, slots=True)
class Timer:
    """Touch `promotion_id` at `due_at` (epoch ms of the store's clock)."""

    promotion_id: str
    due_at: int

    def to_wire(self) -> str:
        """The message body."""
        return json.dumps({"promotionId": self.promotion_id, "dueAt": self.due_at})


Arm = Callable[[Timer, int], None]


def parse(body: str) -> Timer:
    """The timer in a message body.

    Raises:
        InvalidTimer: there is none.
    """
    try:
        wire: Any = json.loads(body)
        return Timer(str(wire["promotionId"]), int(wire["dueAt"]))
    except (ValueError, TypeError, KeyError) as error:
        message = f"no timer: {body[:80]!r}"
        raise InvalidTimer(message) from error


def check_now(client: "SQSClient", queue_url: str, promotion_id: str) -> None:
    """Have a promotion compared with its journal at once.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be sent.
    """
    client.send_message(QueueUrl=queue_url, MessageBody=Timer(promotion_id, DOUBT).to_wire())


def check_in(promotion_id: str, seconds: int) -> tuple[Timer, int]:
    """What to arm to have a promotion looked at in a few seconds, give or take one.

    The message waits in the queue. A timer would wait for its millisecond in the consumer, where
    it keeps others from their turn.
    """
    return Timer(promotion_id, DOUBT), -seconds * 1000 - EARLY_MS


def queue_timers(client: "SQSClient", queue_url: str) -> Arm:
    """Arms timers as delayed messages; one that can't be sent is left to the sweep."""

    def arm(timer: Timer, now_ms: int) -> None:
        # Early, and rounded down: the consumer waits for the rest, a message can't.
        delay_s = max(0, math.floor((timer.due_at - now_ms - EARLY_MS) / 1000))
        try:
            client.send_message(
                QueueUrl=queue_url,
                MessageBody=timer.to_wire(),
                DelaySeconds=min(delay_s, MAX_DELAY_S),
            )
        except AWS_ERRORS as error:
            telemetry.count("timer_not_armed", promotion=timer.promotion_id, reason=str(error))

    return arm
