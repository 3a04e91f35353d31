"""The outbox: events that are decided and not yet with the broker.

Publish first, remove after: a crash in between repeats an event and never loses one.
"""

from collections.abc import Sequence
from typing import Any

from redis import Redis

from chalicelib import events, telemetry
from chalicelib.clients import STORE_ERRORS
from chalicelib.commands import scripts
from chalicelib.events import AnyEvent
from chalicelib.publisher import BATCH, BrokerUnavailable, EventPublisher


def publish(
    decided: Sequence[AnyEvent],
    promotion_id: str,
    store: Redis,
    publisher: EventPublisher,
    *,
    trimmed_later: bool = True,
) -> bool:
    """Hand `decided` to the broker, and take out of the outbox what it has acknowledged.

    Returns whether the broker has all of them. Whatever it does not have waits in the outbox
    for the relay, so neither a broker nor a store that is away raises here. A store that can't
    be trimmed repeats events, no more, unless `trimmed_later` is off: then it counts as a failure.
    """
    for start in range(0, len(decided), BATCH):
        batch = decided[start : start + BATCH]
        try:
            published = publisher.publish(batch)
        except BrokerUnavailable as error:
            telemetry.count("publish_failed", promotion=promotion_id, reason=str(error))
            return False
        removed = _remove(published, promotion_id, store)
        if len(published) < len(batch):
            telemetry.count("publish_failed", promotion=promotion_id, reason="refused in part")
            return False
        if not removed and not trimmed_later:
            return False
    return True


def publish_waiting(promotion_id: str, store: Redis, publisher: EventPublisher) -> int:
    """Publish what waits in one promotion's outbox, in order; returns how many still wait.

    Several relays at once only repeat events, which every consumer has to bear anyway.
    """
    while batch := waiting(promotion_id, store, BATCH):
        if not publish(batch, promotion_id, store, publisher, trimmed_later=False):
            break
    return int(store.xlen(scripts.key(promotion_id, "outbox")))


def waiting(promotion_id: str, store: Redis, most: int | None = None) -> list[AnyEvent]:
    """What waits in a promotion's outbox, in order."""
    entries: Any = store.xrange(scripts.key(promotion_id, "outbox"), count=most)
    return [events.from_entry(entry) for _, entry in entries]


def oldest_waits_ms(promotion_id: str, store: Redis) -> int:
    """How long ago the oldest event that waits was decided, by the store's clock; 0 for none."""
    oldest = waiting(promotion_id, store, 1)
    if not oldest:
        return 0
    seconds, microseconds = store.time()
    return max(0, int(seconds) * 1000 + int(microseconds) // 1000 - oldest[0].at)


def _remove(published: Sequence[AnyEvent], promotion_id: str, store: Redis) -> bool:
    if not published:
        return True
    try:
        store.xdel(scripts.key(promotion_id, "outbox"), *(f"{e.version}-0" for e in published))
    except STORE_ERRORS as error:
        # They stay in the outbox and are published once more: a repeat, not a loss.
        telemetry.count("outbox_not_trimmed", promotion=promotion_id, reason=str(error))
        return False
    return True
