"""What a process's mark of a promotion that is over costs the store: the names of all winners.

Each process fetches them once, when it first hears "over" (see commands/over.py). The store's own
time is what its statistics of commands say; sending the reply comes on top.
"""

import statistics
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from redis import Redis

from bench import promotions
from bench.rows import Row
from chalicelib import clients
from chalicelib.commands import scripts
from chalicelib.commands.over import MOST_CUSTOMERS
from localstack.cloud import LocalCloud

_CALLS = 50
_ROUNDS = 5
# A string in a reply: its length as two digits, a sign and two ends of line.
_FRAME = 7


def rows(_: LocalCloud) -> Iterator[Row]:
    """Microseconds of the store and bytes of the reply, by the number of winners."""
    store = clients.store()
    for winners in (200, MOST_CUSTOMERS // 2, MOST_CUSTOMERS):
        # One unit stays, so that nothing is over and no key expires meanwhile.
        promotion_id = promotions.install(store, winners + 1)
        names = [str(uuid.UUID(int=number)) for number in range(winners)]
        promotions.grab_all(store, promotion_id, names)
        key = scripts.key(promotion_id, "customers")
        microseconds = [_store_us(store, key) for _ in range(_ROUNDS)]
        reply: list[Any] = store.hkeys(key)
        promotions.expect(len(reply), winners)
        store.delete(*promotions.keys_of(promotion_id))
        print(".", end="", flush=True)
        name = f"the names of {winners:,} winners"
        yield Row(name=f"{name}: the store's time", value=statistics.median(microseconds),
                  unit="us", rounds=_ROUNDS)  # fmt: skip
        yield Row(name=f"{name}: reply", value=sum(len(one) + _FRAME for one in reply),
                  unit="bytes")  # fmt: skip


def _store_us(store: Redis, key: str) -> float:
    before = _spent(store)
    for _ in range(_CALLS):
        store.hkeys(key)
    after = _spent(store)
    return (after["usec"] - before["usec"]) / (after["calls"] - before["calls"])


def _spent(store: Redis) -> Mapping[str, float]:
    of_commands: dict[str, Mapping[str, float]] = store.info("commandstats")
    return of_commands.get("cmdstat_hkeys", {"usec": 0, "calls": 0})
