"""What a customer costs in the store's memory, once everything is published."""

import time
import uuid
from collections.abc import Iterator
from itertools import count

from redis import Redis

from bench import promotions
from bench.rows import Row
from chalicelib import clients
from chalicelib.commands import scripts
from localstack.cloud import LocalCloud

AT_MOST = 250
_WINNERS = 10_000
_LOSERS = 10_000


def rows(_: LocalCloud) -> Iterator[Row]:
    """Bytes per winner, per loser, who must leave nothing behind, and per bucket of throttling."""
    store = clients.store()
    short = [f"customer{number:04}" for number in range(_WINNERS)]
    uuids = [str(uuid.UUID(int=number)) for number in range(_WINNERS)]
    yield from _final(store, short)
    yield from _held(store, short)
    yield from _final(store, uuids)
    yield from _held(store, uuids)
    yield from _losers(store)
    yield _bucket(store, uuids)


def _final(store: Redis, names: list[str]) -> Iterator[Row]:
    """Without a hold: a grab is final."""
    promotion_id = promotions.install(store, _WINNERS)
    empty = keys_bytes(store, promotion_id), _used_bytes(store)
    promotions.grab_all(store, promotion_id, names)
    yield from _winner("no hold", names, store, promotion_id, empty)
    store.delete(*promotions.keys_of(promotion_id))


def _held(store: Redis, names: list[str]) -> Iterator[Row]:
    """With a hold: first unpaid, then paid, with a reference of usual length."""
    promotion_id = promotions.install(store, _WINNERS, hold_seconds=promotions.HOLD_S)
    empty = keys_bytes(store, promotion_id), _used_bytes(store)
    promotions.grab_all(store, promotion_id, names)
    yield from _winner("unpaid", names, store, promotion_id, empty)
    payments = zip(names, count(1), (f"pi_{number:021}" for number in count()), strict=False)
    promotions.run_all(store, "pay", promotion_id, payments, "PAID")
    yield from _winner("paid", names, store, promotion_id, empty)
    store.delete(*promotions.keys_of(promotion_id))


def _winner(
    kind: str, names: list[str], store: Redis, promotion_id: str, empty: tuple[int, int]
) -> Iterator[Row]:
    print(".", end="", flush=True)
    name = f"a winner, {kind}, customer id of {len(names[0])}"
    now = keys_bytes(store, promotion_id), _used_bytes(store)
    for measure, after, before in zip(("MEMORY USAGE", "used_memory"), now, empty, strict=True):
        value = (after - before) / len(names)
        yield Row(name=f"{name}: {measure}", value=value, unit="bytes", at_most=AT_MOST)


def _losers(store: Redis) -> Iterator[Row]:
    for kind, hold_seconds in (("over", 0), ("out of stock", promotions.HOLD_S)):
        promotion_id = promotions.sell_out(store, hold_seconds=hold_seconds)
        before, names = keys_bytes(store, promotion_id), store.dbsize()
        late = ((name, "key") for name in promotions.customers(_LOSERS))
        promotions.run_all(store, "grab", promotion_id, late, "SOLD_OUT")
        value = (keys_bytes(store, promotion_id) - before) / _LOSERS
        new = store.dbsize() - names
        store.delete(*promotions.keys_of(promotion_id))
        yield Row(name=f"a loser, {kind}: MEMORY USAGE", value=value, unit="bytes", at_most=0)
        yield Row(name=f"new keys of {_LOSERS:,} losers, {kind}", value=new, unit="keys", at_most=0)


def _bucket(store: Redis, names: list[str]) -> Row:
    """What throttling keeps of each customer, until their bucket is full again."""
    promotion_id = promotions.install(store, len(names))
    buckets = [scripts.key(promotion_id, f"rate:c:{name}") for name in names]
    before = _used_bytes(store)
    pipe = store.pipeline(transaction=False)
    script, keys = scripts.script(store, "admit"), promotions.keys_of(promotion_id)
    for name, bucket in zip(names, buckets, strict=True):
        script(keys=[*keys, bucket], args=[promotion_id, name, 1, 30_000_000, 2], client=pipe)
    for outcome, *_ in pipe.execute():
        promotions.expect(outcome, "ADMITTED")
    value = (_used_bytes(store) - before) / len(names)
    store.delete(*buckets, *keys)
    name = f"a bucket, customer id of {len(names[0])}: used_memory"
    return Row(name=name, value=value, unit="bytes", at_most=AT_MOST)


def keys_bytes(store: Redis, promotion_id: str) -> int:
    """The memory of all keys of a promotion, every element counted."""
    keys = promotions.keys_of(promotion_id)
    return sum(store.memory_usage(key, samples=0) or 0 for key in keys)


def _used_bytes(store: Redis) -> int:
    """What the store uses, once it has freed in the background what was deleted before."""
    while (memory := store.info("memory"))["lazyfree_pending_objects"]:
        time.sleep(0.01)
    return int(memory["used_memory"])
