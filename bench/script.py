"""The grab script against a plain DECR, the least that any counter of stock can cost.

Twice: as a worker calls it, one call of the client library and one round trip each, and
pipelined from ready-made bytes, where the store's own work is what remains.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from urllib.parse import urlsplit

import hiredis
from redis import Redis

from bench import promotions
from bench.rows import Figures, Row, compare, per_second, take_turns
from chalicelib import clients
from chalicelib.commands import scripts
from localstack.cloud import LocalCloud

AT_LEAST = 0.5
_CALLS = 1500
_PIPELINED = 3000
_DECR = "DECR"
_LOSER = "grab script, loser"
_RUN = "scripts.run, loser"
_WINNER = "grab script, winner"
_REPEAT = "grab script, repeat"
_OWNER = "customer-who-has-one"


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Calls per second of each outcome, one at a time and pipelined."""
    store = clients.store()
    sold_out, on_sale = promotions.sell_out(store), promotions.install(store, 10_000_000)
    promotions.grab_and_publish(store, on_sale, _OWNER, "GRANTED")
    counter = scripts.key(sold_out, "counter")
    with one_core(cloud):
        yield from _one_by_one(store, counter, sold_out, on_sale)
    yield from _pipelined(store, cloud.environ["REDIS_URL"], counter, sold_out, on_sale)
    store.delete(counter, *promotions.keys_of(sold_out), *promotions.keys_of(on_sale))


def _one_by_one(store: Redis, counter: str, sold_out: str, on_sale: str) -> Iterator[Row]:
    script = store.register_script(scripts.source("grab"))
    lost, open_ = promotions.keys_of(sold_out), promotions.keys_of(on_sale)
    customers = _customers()
    promotions.expect(script(keys=lost, args=[sold_out, "nobody"]), ["SOLD_OUT", [], []])
    figures = take_turns(
        {
            _DECR: lambda: per_second(lambda: store.decr(counter), _CALLS),
            _LOSER: lambda: per_second(
                lambda: script(keys=lost, args=[sold_out, next(customers)]), _CALLS
            ),
            _RUN: lambda: per_second(
                lambda: scripts.run(store, "grab", sold_out, next(customers)), _CALLS
            ),
            _WINNER: lambda: per_second(
                lambda: script(keys=open_, args=[on_sale, next(customers)]), _CALLS
            ),
            _REPEAT: lambda: per_second(lambda: script(keys=open_, args=[on_sale, _OWNER]), _CALLS),
        }
    )
    yield compare(figures, _LOSER, "calls/s", against=_DECR, at_least=AT_LEAST)
    yield from (
        compare(figures, name, "calls/s", against=_DECR) for name in (_RUN, _WINNER, _REPEAT)
    )


def _pipelined(store: Redis, url: str, counter: str, sold_out: str, on_sale: str) -> Iterator[Row]:
    sha = store.script_load(scripts.source("grab"))
    customers = _customers()

    def grab(promotion_id: str, customer_id: str) -> bytes:
        keys = promotions.keys_of(promotion_id)
        return pack("EVALSHA", sha, str(len(keys)), *keys, promotion_id, customer_id)

    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:

        def side(command: Callable[[], bytes], outcome: bytes | None) -> Callable[[], float]:
            return lambda: pipelined_per_second(
                connection, [command() for _ in range(_PIPELINED)], outcome
            )

        figures = take_turns(
            {
                _DECR: side(lambda: pack("DECR", counter), None),
                _LOSER: side(lambda: grab(sold_out, next(customers)), b"SOLD_OUT"),
                _WINNER: side(lambda: grab(on_sale, next(customers)), b"GRANTED"),
                _REPEAT: side(lambda: grab(on_sale, _OWNER), b"REPEATED"),
            }
        )
    yield from (
        compare(_named(figures), f"{name}, pipelined", "calls/s", against=f"{_DECR}, pipelined")
        for name in (_LOSER, _WINNER, _REPEAT)
    )


@contextmanager
def one_core(cloud: LocalCloud) -> Iterator[None]:
    """Keep the store and ourselves on one core, where the system can do that.

    On two cores, waking up the other one takes longer than the command, hides what differs,
    and happens or not as the scheduler likes.
    """
    if sys.platform != "linux":
        yield
        return
    pids = [0, *(child.process.pid for child in cloud.children if child.name == "valkey")]
    cores = os.sched_getaffinity(0)
    try:
        for pid in pids:
            os.sched_setaffinity(pid, {min(cores)})
        yield
    finally:
        for pid in pids:
            os.sched_setaffinity(pid, cores)


def pack(*words: str) -> bytes:
    """A command as the store's protocol has it."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def pipelined_per_second(
    connection: socket.socket, commands: Iterable[bytes], outcome: bytes | None
) -> float:
    """Send all `commands` at once and read all replies; commands per second.

    Raises:
        InvalidMeasurement: a reply is an error, or does not begin with `outcome`.
    """
    packed = list(commands)
    everything = b"".join(packed)
    reader = hiredis.Reader()
    replies: list[object] = []
    start = time.perf_counter()
    connection.sendall(everything)
    while len(replies) < len(packed):
        reader.feed(connection.recv(1 << 16))
        while (reply := reader.gets()) is not False:
            replies.append(reply)
    seconds = time.perf_counter() - start
    for reply in replies:
        answer = reply[0] if isinstance(reply, list) else None
        promotions.expect(reply if isinstance(reply, Exception) else answer, outcome)
    return len(packed) / seconds


def _named(figures: Figures) -> Figures:
    return {f"{name}, pipelined": values for name, values in figures.items()}


def _customers() -> Iterator[str]:
    """Distinct customers, without end; those of a second call are others."""
    run = time.monotonic_ns()
    return (f"c{run}-{number}" for number in count())
