"""Promotions to measure with, put straight into the store: the tables know nothing of them."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import count, islice
from typing import Any

from redis import Redis

from bench.rows import InvalidMeasurement
from chalicelib import clients
from chalicelib.commands import outbox, scripts
from chalicelib.commands.offer import Offer, store_fields
from chalicelib.events import AnyEvent

PLENTY = 10_000_000
# Long enough that nothing ends or is released while it is measured.
HOLD_S = 12 * 3600
_DAY_MS = 24 * 3600 * 1000
_AT_ONCE = 500


class AcknowledgesAll:
    """A broker that takes everything at once, for what must not measure the broker."""

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """See EventPublisher."""
        return list(events)


def install(store: Redis, stock: int, *, hold_seconds: int = 0) -> str:
    """A promotion that is on sale for a day, its events published; returns its id."""
    promotion_id = f"bench-{secrets.token_hex(6)}"
    now_ms = clients.store_clock_ms()
    offer = Offer(stock, Decimal("0.5"), now_ms, now_ms + _DAY_MS, hold_seconds=hold_seconds)
    reply = scripts.run(store, "install", promotion_id, *store_fields(offer, None))
    outbox.publish(reply.events, promotion_id, store, AcknowledgesAll())
    return promotion_id


def sell_out(store: Redis, stock: int = 1, *, hold_seconds: int = 0) -> str:
    """A promotion whose coupons are gone; returns its id.

    Without a hold it is over; with one it is out of stock, and a unit may come back.
    """
    promotion_id = install(store, stock, hold_seconds=hold_seconds)
    grab_all(store, promotion_id, customers(stock))
    return promotion_id


def grab_all(store: Redis, promotion_id: str, names: Iterable[str]) -> None:
    """Let each customer grab a coupon; see `run_all`."""
    run_all(store, "grab", promotion_id, ((name, "key") for name in names), "GRANTED")


def run_all(
    store: Redis,
    name: str,
    promotion_id: str,
    calls: Iterable[Sequence[str | int]],
    outcome: str,
) -> None:
    """Run script `name` with the arguments of each call, in pipelines; publish what it decides.

    Raises:
        InvalidMeasurement: an outcome is another one.
    """
    script, keys = scripts.script(store, name), keys_of(promotion_id)
    waiting = iter(calls)
    while some := list(islice(waiting, _AT_ONCE)):
        pipe = store.pipeline(transaction=False)
        for arguments in some:
            script(keys=keys, args=[promotion_id, *arguments], client=pipe)
        versions: list[str] = []
        replies: list[Any] = pipe.execute()
        for answered, _, events, *_ in replies:
            expect(answered, outcome)
            versions += (f"{event[event.index('version') + 1]}-0" for event in events)
        if versions:
            store.xdel(scripts.key(promotion_id, "outbox"), *versions)


def expect(outcome: object, expected: object) -> None:
    """Make sure that what is measured is what is meant.

    Raises:
        InvalidMeasurement: it is not.
    """
    if outcome != expected:
        message = f"expected {expected}, but the answer was {outcome}"
        raise InvalidMeasurement(message)


def customers(most: int | None = None) -> Iterator[str]:
    """Distinct customers, without end unless told; those of a second call are others."""
    run = secrets.token_hex(4)
    numbers = count() if most is None else range(most)
    return (f"c{run}-{number}" for number in numbers)


def keys_of(promotion_id: str) -> list[str]:
    """All keys of a promotion, in the order in which scripts take them."""
    return [scripts.key(promotion_id, part) for part in scripts.PARTS]
