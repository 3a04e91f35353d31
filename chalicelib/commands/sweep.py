"""The sweep: on a schedule, touch every live promotion, in case nobody else does.

It starts and finishes what is due, releases overdue holds, publishes what a crash or an outage
left in the outbox, recovers what the store has lost, lets the table follow the store, and lets
the keys of promotions that are over expire. It decides nothing that a grab would not decide too,
so a late or a doubled sweep changes nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from pynamodb.exceptions import PynamoDBException

from chalicelib import telemetry
from chalicelib.clients import AWS_ERRORS, STORE_ERRORS
from chalicelib.commands import outbox, scripts
from chalicelib.commands.decision import Decision, NotOnRecord, Outside, decide
from chalicelib.commands.promotions import (
    PromotionRow,
    close_promotion,
    copy_from_store,
    live_promotions,
)
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.config import settings
from chalicelib.events import AnyEvent
from chalicelib.publisher import BrokerUnavailable

# A winner's repeat is answered by the store for a week after the end; later, by the read side.
KEPT_AFTER_END_S = 7 * 24 * 3600
_OUTAGES = (*STORE_ERRORS, *AWS_ERRORS, PynamoDBException)
_OPEN = ("SCHEDULED", "ON_SALE")
# Ten releases a call: what a million overdue holds need is left to the next timer.
_ADVANCES_AT_ONCE = 500


@dataclass(slots=True)
class Swept:
    """What a sweep found: how many were looked at, closed, and failed; events still waiting.

    oldest_ms: how long the oldest event that still waits has been waiting.
    """

    promotions: int = 0
    closed: int = 0
    waiting: int = 0
    oldest_ms: int = 0
    failed: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The findings as JSON types."""
        return asdict(self)


def sweep(outside: Outside, repair: Repair) -> Swept:
    """Look after every live promotion; one that fails does not keep the others from their turn.

    Raises:
        pynamodb.exceptions.PynamoDBException: the list of live promotions can't be read.
    """
    swept = Swept()
    for row in live_promotions():
        swept.promotions += 1
        if swept.waiting:  # the broker is away: nobody else waits for it to time out
            outside = replace(outside, publisher=_Away())
        try:
            _sweep_one(row, swept, outside, repair)
        except (*_OUTAGES, NotOnRecord, ValueError, ArithmeticError, LookupError) as error:
            swept.failed.append(row.promotion_id)
            telemetry.count("sweep_failed", promotion=row.promotion_id, reason=str(error))
    telemetry.count("outbox_waiting", swept.waiting)
    telemetry.measure("outbox_age", swept.oldest_ms, MetricUnit.Milliseconds)
    return swept


class _Away:
    """A broker that is known to be away."""

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """See EventPublisher."""
        message = f"{len(events)} events wait: the broker did not answer in this sweep"
        raise BrokerUnavailable(message)


def advance_promotion(promotion_id: str, outside: Outside) -> Decision:
    """Move a promotion to now, however many holds are overdue (up to 5,000 a call).

    Raises:
        redis.RedisError: the store is away or refused.
    """
    for _ in range(_ADVANCES_AT_ONCE):
        decision = decide(outside, "advance", promotion_id)
        if not decision.reply.events or not decision.published:
            break
    return decision


def _sweep_one(row: PromotionRow, swept: Swept, outside: Outside, repair: Repair) -> None:
    promotion_id = row.promotion_id
    recovery = recover_promotion(promotion_id, outside, repair)
    if recovery.outcome != "HEALTHY":
        outcome, detail = recovery.outcome, recovery.detail
        telemetry.count("promotion_missing", promotion=promotion_id, outcome=outcome, detail=detail)
        return
    outcome = advance_promotion(promotion_id, outside).outcome
    copy_from_store(promotion_id, outside.store)
    waiting = outbox.publish_waiting(promotion_id, outside.store, outside.publisher)
    swept.waiting += waiting
    if waiting:
        age_ms = outbox.oldest_waits_ms(promotion_id, outside.store)
        swept.oldest_ms = max(swept.oldest_ms, age_ms)
    if outcome in _OPEN or waiting:
        return
    retire = ("retire", promotion_id, KEPT_AFTER_END_S, round(settings().watch_s * 1000))
    if scripts.run(outside.store, *retire).outcome == "RETIRED":
        close_promotion(promotion_id, outcome)
        swept.closed += 1
