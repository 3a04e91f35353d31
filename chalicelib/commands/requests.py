"""Which request an Idempotency-Key stands for: the same key with another body is refused.

The scripts know the key of every grant themselves, so a retry is safe without this. What they can't
see is a key that comes back for another promotion, in another slot of the store, and a key whose
first request found that the customer had a coupon already. Only those are remembered that got a
coupon: a million losers cost no memory.
"""

from dataclasses import dataclass

from redis import Redis

from chalicelib import telemetry
from chalicelib.clients import STORE_ERRORS

REMEMBERED_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Won:
    """What a request of this key got: a coupon of a promotion; 0 where its number is not known."""

    promotion_id: str
    number: int = 0


def won_with(customer_id: str, key: str, store: Redis) -> Won | None:
    """What the customer's `key` has won within the last day.

    Raises:
        redis.RedisError: the store is away.
    """
    noted = str(store.get(_name(customer_id, key)) or "")
    promotion_id, _, number = noted.partition(" ")
    return Won(promotion_id, int(number or 0)) if promotion_id else None


def remember(customer_id: str, key: str, won: Won, store: Redis) -> None:
    """Note what the customer's `key` has won; it is won already, so an outage is only counted."""
    noted = f"{won.promotion_id} {won.number}"
    try:
        store.set(_name(customer_id, key), noted, ex=REMEMBERED_S, nx=True)
    except STORE_ERRORS as error:
        telemetry.count("request_not_remembered", reason=str(error))


def _name(customer_id: str, key: str) -> str:
    """No id can hold the slash: with a colon, `a:b` and `c` would be `a` and `b:c`."""
    return f"seckill:request:{customer_id}/{key}"
