"""Which request an Idempotency-Key stands for: the same key with another body is refused.

The scripts know the key of every coupon themselves, so a retry is safe without this. What they
can't see is a key that comes back for another promotion, in another slot of the store. Only
winners are remembered: a million losers cost no memory.
"""

from redis import Redis

from chalicelib import telemetry
from chalicelib.clients import STORE_ERRORS

REMEMBERED_S = 24 * 3600


def is_free_for(customer_id: str, key: str, promotion_id: str, store: Redis) -> bool:
    """False when the customer's `key` has won a coupon of another promotion within the last day.

    Raises:
        redis.RedisError: the store is away.
    """
    return store.get(_name(customer_id, key)) in (None, promotion_id)


def remember(customer_id: str, key: str, promotion_id: str, store: Redis) -> None:
    """Note what the customer's `key` has won; it is won already, so an outage is only counted."""
    try:
        store.set(_name(customer_id, key), promotion_id, ex=REMEMBERED_S, nx=True)
    except STORE_ERRORS as error:
        telemetry.count("request_not_remembered", reason=str(error))


def _name(customer_id: str, key: str) -> str:
    """No id can hold the slash: with a colon, `a:b` and `c` would be `a` and `b:c`."""
    return f"seckill:request:{customer_id}/{key}"
