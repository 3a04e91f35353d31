"""The sweep: on a schedule, touch every live promotion, in case nobody else does.

It starts and finishes what is due, publishes what a crash or an outage left in the outbox, and
lets the keys of closed promotions expire. It decides nothing that a grab would not decide too,
so a late or a doubled sweep changes nothing.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from redis import Redis, RedisError

from chalicelib import telemetry
from chalicelib.commands import outbox, scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.promotions import PromotionRow, close_promotion, live_promotions
from chalicelib.publisher import EventPublisher

# A winner's repeat is answered by the store for a week after the end; later, by the read side.
KEPT_AFTER_END_S = 7 * 24 * 3600
_OPEN = ("SCHEDULED", "ON_SALE")


@dataclass(slots=True)
class Swept:
    """What a sweep found: how many were looked at, closed, and failed; events still waiting."""

    promotions: int = 0
    closed: int = 0
    waiting: int = 0
    failed: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The findings as JSON types."""
        return asdict(self)


def sweep(store: Redis, publisher: EventPublisher) -> Swept:
    """Look after every live promotion; one that fails does not keep the others from their turn.

    Raises:
        pynamodb.exceptions.QueryError: the list of live promotions can't be read.
    """
    swept = Swept()
    for promotion_id in live_promotions():
        swept.promotions += 1
        try:
            _sweep_one(promotion_id, swept, store, publisher)
        except (RedisError, ValueError, ArithmeticError) as error:
            swept.failed.append(promotion_id)
            telemetry.count("sweep_failed", promotion=promotion_id, reason=str(error))
    telemetry.count("outbox_waiting", swept.waiting)
    return swept


def _sweep_one(promotion_id: str, swept: Swept, store: Redis, publisher: EventPublisher) -> None:
    reply = scripts.run(store, "advance", promotion_id)
    if reply.outcome == "UNKNOWN":
        _install_if_never_opened(promotion_id, store, publisher)
        return
    waiting = outbox.publish_waiting(promotion_id, store, publisher)
    swept.waiting += waiting
    if reply.outcome in _OPEN or waiting:
        return
    if scripts.run(store, "retire", promotion_id, KEPT_AFTER_END_S).outcome == "RETIRED":
        close_promotion(promotion_id, reply.outcome)
        swept.closed += 1


def _install_if_never_opened(promotion_id: str, store: Redis, publisher: EventPublisher) -> None:
    """Install what the store should have, as long as it can't have sold anything.

    Before its opening a promotion has no events, so installing it loses nothing. After it, the
    store has lost a sale in progress: only the journal knows what was sold.
    """
    row = PromotionRow.get(promotion_id, consistent_read=True)
    seconds, _ = store.time()
    if int(row.publish_time) > (seconds + 1) * 1000:
        install_promotion(row, store, publisher)
    else:
        telemetry.count("promotion_missing", promotion=promotion_id)
