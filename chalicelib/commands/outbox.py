"""The outbox: events that are decided and not yet with the broker.

Publish first, remove after: a crash in between repeats an event and never loses one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from redis import Redis

from chalicelib import events, telemetry
from chalicelib.clients import STORE_ERRORS
from chalicelib.commands import scripts
from chalicelib.events import AnyEvent
from chalicelib.publisher import BATCH, BrokerUnavailable, EventPublisher

# How many events of one promotion a relay publishes before it is the turn of others.
MOST_AT_ONCE = 1000


def publish(
    decided: Sequence[AnyEvent], promotion_id: str, store: Redis, publisher: EventPublisher
) -> bool:
    """Hand `decided` to the broker, and take out of the outbox what it has acknowledged.

    Returns whether the broker has all of them. Whatever it does not have waits in the outbox
    for the relay, so neither a broker nor a store that is away raises here. A store that can't
    be trimmed repeats events, no more.
    """
    outcomes = set()
    for start in range(0, len(decided), BATCH):
        outcome = _publish_batch(decided[start : start + BATCH], promotion_id, store, publisher)
        outcomes.add(outcome)
        if outcome == "AWAY":
            break
    return outcomes <= {"TAKEN"}


def _publish_batch(
    batch: Sequence[AnyEvent], promotion_id: str, store: Redis, publisher: EventPublisher
) -> Literal["TAKEN", "REFUSED", "AWAY"]:
    """REFUSED: the broker did not take all of them."""
    try:
        published = publisher.publish(batch)
    except BrokerUnavailable as error:
        telemetry.count("publish_failed", promotion=promotion_id, reason=str(error))
        return "AWAY"
    _remove(published, promotion_id, store)
    if len(published) < len(batch):
        telemetry.count("publish_failed", promotion=promotion_id, reason="refused in part")
        return "REFUSED"
    return "TAKEN"


@dataclass(frozen=True, slots=True)
class Relayed:
    """How a relay ended: how many events still wait, and whether the broker refused some."""

    waiting: int
    refused: bool


def relay(promotion_id: str, store: Redis, publisher: EventPublisher) -> Relayed:
    """Publish what waits in one promotion's outbox now, in order, up to `MOST_AT_ONCE` events.

    What is decided meanwhile is left to its own process, or to the next relay. One event that the
    broker refuses keeps no other waiting. Several relays at once only repeat events, which every
    consumer has to bear anyway.
    """
    key = scripts.key(promotion_id, "outbox")
    newest: Any = store.xrevrange(key, count=1)
    first, refused = "-", False
    for _ in range(MOST_AT_ONCE // BATCH if newest else 0):
        entries: Any = store.xrange(key, min=first, max=newest[0][0], count=BATCH)
        if not entries:
            break
        first = f"({entries[-1][0]}"
        batch = _parsed(entries)
        outcome = _publish_batch(batch, promotion_id, store, publisher) if batch else "REFUSED"
        refused |= outcome != "TAKEN"
        if outcome == "AWAY":
            break
    return Relayed(int(store.xlen(key)), refused)


def publish_waiting(promotion_id: str, store: Redis, publisher: EventPublisher) -> int:
    """The same; returns how many still wait."""
    return relay(promotion_id, store, publisher).waiting


def waiting(promotion_id: str, store: Redis, most: int, behind: int = 0) -> list[AnyEvent]:
    """The first of what waits in a promotion's outbox behind version `behind`, in order.

    An entry that can't be read is counted and left out; it is empty only where nothing waits that
    can be read.
    """
    key = scripts.key(promotion_id, "outbox")
    first = f"({behind}-0"
    while entries := cast("Any", store.xrange(key, min=first, count=most)):
        if found := _parsed(entries):
            return found
        first = f"({entries[-1][0]}"
    return []


def oldest_waits_ms(promotion_id: str, store: Redis) -> int:
    """How long ago the oldest event that waits was decided, by the store's clock; 0 for none."""
    oldest = waiting(promotion_id, store, 1)
    if not oldest:
        return 0
    return max(0, scripts.clock_ms(promotion_id, store) - oldest[0].at)


def _parsed(entries: Iterable[tuple[str, Mapping[str, str]]]) -> list[AnyEvent]:
    return scripts.readable(events.from_entry, (entry for _, entry in entries))


def _remove(published: Sequence[AnyEvent], promotion_id: str, store: Redis) -> None:
    if not published:
        return
    try:
        store.xdel(scripts.key(promotion_id, "outbox"), *(f"{e.version}-0" for e in published))
    except STORE_ERRORS as error:
        # They stay in the outbox and are published once more: a repeat, not a loss.
        telemetry.count("outbox_not_trimmed", promotion=promotion_id, reason=str(error))
