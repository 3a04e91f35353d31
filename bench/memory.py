"""What a customer costs in the store's memory, once everything is published."""

import time
from collections.abc import Iterator

from redis import Redis

from bench import promotions
from bench.rows import Row
from chalicelib import clients
from localstack.cloud import LocalCloud

_WINNERS = 10_000
_LOSERS = 10_000


def rows(_: LocalCloud) -> Iterator[Row]:
    """Bytes per winner and per loser; a loser must leave nothing behind."""
    store = clients.store()
    promotion_id = promotions.install(store, _WINNERS)
    before, before_used = keys_bytes(store, promotion_id), _used_bytes(store)
    _crowd(store, promotion_id, "winner", _WINNERS, "GRANTED")
    won, won_used = keys_bytes(store, promotion_id), _used_bytes(store)
    names = store.dbsize()
    _crowd(store, promotion_id, "loser", _LOSERS, "SOLD_OUT")
    lost = keys_bytes(store, promotion_id)
    new_keys = store.dbsize() - names
    winner = f"a winner, of {_WINNERS:,} (customer ids of 12 bytes)"
    yield Row(name=f"{winner}: MEMORY USAGE", value=(won - before) / _WINNERS, unit="bytes")
    yield Row(
        name=f"{winner}: used_memory", value=(won_used - before_used) / _WINNERS, unit="bytes"
    )
    yield Row(name="a loser: MEMORY USAGE", value=(lost - won) / _LOSERS, unit="bytes", at_most=0)
    yield Row(name=f"new keys of {_LOSERS:,} losers", value=new_keys, unit="keys", at_most=0)
    store.delete(*promotions.keys_of(promotion_id))


def keys_bytes(store: Redis, promotion_id: str) -> int:
    """The memory of all keys of a promotion, every element counted."""
    keys = promotions.keys_of(promotion_id)
    return sum(store.memory_usage(key, samples=0) or 0 for key in keys)


def _used_bytes(store: Redis) -> int:
    """What the store uses, once it has freed in the background what was deleted before."""
    while (memory := store.info("memory"))["lazyfree_pending_objects"]:
        time.sleep(0.01)
    return int(memory["used_memory"])


def _crowd(store: Redis, promotion_id: str, kind: str, size: int, outcome: str) -> None:
    for number in range(size):
        promotions.grab_and_publish(store, promotion_id, f"{kind:_<6}{number:06}", outcome)
    print(".", end="", flush=True)
