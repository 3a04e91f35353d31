"""Promotions to measure with, put straight into the store: the tables know nothing of them."""

import secrets
from collections.abc import Sequence

from redis import Redis

from bench.rows import InvalidMeasurement
from chalicelib.commands import outbox, scripts
from chalicelib.events import AnyEvent

_PARTS = ("promotion", "customers", "outbox")
_DAY_MS = 24 * 3600 * 1000


class AcknowledgesAll:
    """A broker that takes everything at once, for what must not measure the broker."""

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """See EventPublisher."""
        return list(events)


def install(store: Redis, stock: int) -> str:
    """A promotion that is on sale for a day, its events published; returns its id."""
    promotion_id = f"bench-{secrets.token_hex(6)}"
    seconds, _ = store.time()
    fields: dict[str, str | int] = {
        "opens_at": int(seconds) * 1000,
        "closes_at": int(seconds) * 1000 + _DAY_MS,
        "stock": stock,
        "available": stock,
        "discount": "0.5",
        "coupons_per_customer": 1,
        "hold_seconds": 0,
    }
    flat = [part for item in fields.items() for part in item]
    reply = scripts.run(store, "install", promotion_id, *flat)
    outbox.publish(reply.events, promotion_id, store, AcknowledgesAll())
    return promotion_id


def sell_out(store: Redis) -> str:
    """A promotion whose only coupon is gone; returns its id."""
    promotion_id = install(store, 1)
    grab_and_publish(store, promotion_id, "winner", "GRANTED")
    return promotion_id


def grab_and_publish(store: Redis, promotion_id: str, customer_id: str, outcome: str) -> None:
    """What a grab does to the store: the script, then what it decided leaves the outbox.

    Raises:
        InvalidMeasurement: the outcome is another one.
    """
    reply = scripts.run(store, "grab", promotion_id, customer_id)
    expect(reply.outcome, outcome)
    outbox.publish(reply.events, promotion_id, store, AcknowledgesAll())


def expect(outcome: object, expected: object) -> None:
    """Make sure that what is measured is what is meant.

    Raises:
        InvalidMeasurement: it is not.
    """
    if outcome != expected:
        message = f"expected {expected}, but the answer was {outcome}"
        raise InvalidMeasurement(message)


def keys_of(promotion_id: str) -> list[str]:
    """All keys of a promotion, in the order in which scripts take them."""
    return [scripts.key(promotion_id, part) for part in _PARTS]
