"""Which request an Idempotency-Key stands for: the same key with another body is refused.

The scripts know the key of every coupon themselves, so a retry is safe without this. What they
can't see is a key that comes back for another promotion, in another slot of the store. Only
winners are remembered: a million losers cost no memory.
"""

import hashlib
import json
from collections.abc import Sequence

from redis import Redis, RedisError

from chalicelib import telemetry

REMEMBERED_S = 24 * 3600


def is_free_for(key: str, request: Sequence[str], store: Redis) -> bool:
    """False when `key` has won a coupon by another request within the last day.

    Raises:
        redis.RedisError: the store is away.
    """
    return store.get(_name(key)) in (None, _fingerprint(request))


def remember(key: str, request: Sequence[str], store: Redis) -> None:
    """Note what `key` was used for. The coupon is won already, so a store away is only counted."""
    try:
        store.set(_name(key), _fingerprint(request), ex=REMEMBERED_S, nx=True)
    except RedisError as error:
        telemetry.count("request_not_remembered", reason=str(error))


def _name(key: str) -> str:
    return f"seckill:request:{key}"


def _fingerprint(request: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(request)).encode()).hexdigest()[:32]
