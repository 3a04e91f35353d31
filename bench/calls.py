"""How calls of the store are timed: on one core, one after the other or pipelined."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import hiredis
from redis import Redis

from bench.promotions import expect, keys_of
from chalicelib.commands import scripts
from localstack.cloud import LocalCloud

Call = Callable[..., list[object]]


def caller(store: Redis, name: str, promotion_id: str, outcome: str) -> Call:
    """A call of script `name` on a promotion, as a worker makes it; the outcome is checked.

    `more` names further parts whose keys the script takes.
    """
    script, keys = scripts.script(store, name), keys_of(promotion_id)

    def call(*arguments: str | int, more: Sequence[str] = ()) -> list[object]:
        all_keys = [*keys, *(scripts.key(promotion_id, part) for part in more)] if more else keys
        reply: list[object] = script(keys=all_keys, args=[promotion_id, *arguments])
        if reply[0] != outcome:
            expect(reply[0], outcome)
        return reply

    return call


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
        expect(reply if isinstance(reply, Exception) else answer, outcome)
    return len(packed) / seconds
