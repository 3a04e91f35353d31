"""Two processes at one coupon at the same moment: its unit goes back once, or is sold."""

import multiprocessing
import os
import random
import secrets
import time
from collections.abc import Iterator
from itertools import combinations_with_replacement
from multiprocessing.connection import Connection
from typing import Any

import pytest
from redis import Redis

from chalicelib import clients
from chalicelib.commands import scripts
from chalicelib.events import CouponEvent, Event, from_entry
from tests.unit.conftest import state_of

pytestmark = pytest.mark.store

ROUNDS = 25
ROUNDS_IN_CLUSTER = 5
HOLD_MS = 8
# What a process does to the only unit of a sale, whose coupon 1 is alice's.
MOVES: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "pay": ("pay", ("alice", 1, "r1")),
    "give back": ("give_back", ("alice", 1)),
    "expire": ("advance", ()),
    "grab": ("grab", ("bob", "key")),
    "cancel": ("cancel", ()),
}


def act(pipe: Connection) -> None:
    """A process: wait for (sale, move, when), do it then, tell the outcome."""
    store = clients.store()
    while (order := pipe.recv()) is not None:
        sale, move, at = order
        script, args = MOVES[move]
        time.sleep(max(0.0, at - time.monotonic()))
        pipe.send(scripts.run(store, script, sale, *args).outcome)


@pytest.fixture(scope="module")
def actors(store_url: str, in_cluster: bool) -> Iterator[list[Connection]]:  # noqa: FBT001
    """Two processes with a client each."""
    context = multiprocessing.get_context("spawn")
    os.environ |= {"REDIS_URL": store_url, "REDIS_CLUSTER": str(in_cluster)}
    pairs = [context.Pipe() for _ in range(2)]
    processes = [context.Process(target=act, args=(theirs,)) for _, theirs in pairs]
    for process in processes:
        process.start()
    for _, theirs in pairs:
        theirs.close()  # so that a process that has died is noticed
    yield [ours for ours, _ in pairs]
    for ours, _ in pairs:
        ours.send(None)
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    del os.environ["REDIS_URL"], os.environ["REDIS_CLUSTER"]


@pytest.mark.parametrize("pair", list(combinations_with_replacement(MOVES, 2)), ids=" and ".join)
def test_two_at_once_leave_one_truth(
    store: Redis,
    actors: list[Connection],
    pair: tuple[str, str],
    in_cluster: bool,  # noqa: FBT001
) -> None:
    chance = random.Random(str(pair))
    for _ in range(ROUNDS_IN_CLUSTER if in_cluster else ROUNDS):
        sale = _sale_with_one_hold(store)
        # Around the deadline, so that before, at and after it all come up.
        at = time.monotonic() + chance.uniform(0, 2 * HOLD_MS) / 1000
        for actor, move in zip(actors, pair, strict=True):
            actor.send((sale, move, at))
        outcomes = [actor.recv() for actor in actors]
        events = _events(store, sale)
        _check(store, sale, events, outcomes)


def _sale_with_one_hold(store: Redis) -> str:
    sale = secrets.token_hex(6)
    fields: list[str | int] = [
        "opens_at",
        0,
        "closes_at",
        4_000_000_000_000,
        "stock",
        1,
        "available",
        1,
    ]
    fields += ["discount", "0.15", "coupons_per_customer", 1, "hold_ms", 1000]
    scripts.run(store, "install", sale, *fields)
    # No offer can have such a short hold: what is raced is the rule, not the validation.
    store.hset(scripts.key(sale, "promotion"), "hold_ms", HOLD_MS)
    assert scripts.run(store, "grab", sale, "alice", "key").outcome == "GRANTED"
    return sale


def _events(store: Redis, sale: str) -> list[Event]:
    entries: Any = store.xrange(scripts.key(sale, "outbox"))
    found = [from_entry(fields) for _, fields in entries]
    return [event for event in found if isinstance(event, Event)]


def _check(store: Redis, sale: str, events: list[Event], outcomes: list[str]) -> None:
    story = ([event.type for event in events], outcomes)
    assert [event.version for event in events] == list(range(1, len(events) + 1)), story
    for event in events:
        assert event.stock == event.available + event.held + event.sold == 1, story
        assert min(event.available, event.held, event.sold) >= 0, story
    alices = [e for e in events if isinstance(e, CouponEvent) and e.customer_id == "alice"]
    kinds = [event.type for event in alices]
    assert kinds.count("CouponReleased") <= 1, story
    assert kinds.count("CouponPaid") + kinds.count("RefundRecorded") <= 1, story
    if "PAID" in outcomes:
        assert alices[-1].state == "PAID", story
    if {"HOLD_EXPIRED", "COUPON_RELEASED"} & set(outcomes):
        assert alices[-1].state == "REFUND_DUE", story
    units = [e for e in events if isinstance(e, CouponEvent)]
    last = {event.number: event.state for event in units}
    taken = sum(state in ("GRABBED", "PAID") for state in last.values())
    state = state_of(store, sale)
    assert taken + int(state["available"]) == 1, story
