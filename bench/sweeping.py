"""The sweep, and what is due without traffic, by the number of live promotions.

Nobody grabs from the promotions that are due: a timer, or a look of the sweep, has to start and to
end them. Ten seconds after its time each must be on record, whoever else is live.
"""

import io
import secrets
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from decimal import Decimal
from threading import Event
from typing import Any

from redis import Redis

from bench import promotions
from bench.punctuality import Due, happened, lateness
from bench.rows import InvalidMeasurement, Row
from chalicelib import clients
from chalicelib.commands import scripts
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.offer import Offer, store_fields
from chalicelib.commands.promotions import LIVE, PromotionRow
from chalicelib.commands.sweep import sweep
from chalicelib.events import CouponGrabbed
from chalicelib.journal import EventRow
from chalicelib.timers import Timer
from chalicelib.wiring import outside, repair
from localstack.cloud import LocalCloud

LIVE_AT_ONCE = (1, 100, 1_000, 10_000)
DUE_AT_ONCE = 100
LATE_AT_MOST_MS = 10_000
_SWEEPS = 3
_AT_ONCE = 500
_HOUR_MS = 3_600_000
# Time to make and to arm them before the first is due; then they are open for a while.
_AHEAD_MS = 6000
_OPEN_MS = 6000
_LONG_JOURNAL = 5_000
_THREADS = 8
_BROKEN = "bench-in-recovery"


def rows(_: LocalCloud) -> Iterator[Row]:
    """Seconds and calls of a sweep, and how late a hundred starts and ends are."""
    made: list[str] = []
    try:
        for live in LIVE_AT_ONCE:
            made += _make(live - len(made), _HOUR_MS, 2 * _HOUR_MS)
            yield from _sweeps(live)
            yield from _due(f"{live:,} live")
        with _in_recovery():
            yield from _due("behind a recovery")
        with _crowd():
            yield from _due("beside a crowd")
    finally:
        _remove(made)


def _sweeps(live: int) -> Iterator[Row]:
    """Of idle promotions: whoever is not idle yet becomes so in the first sweep.

    The local cloud's own sweep may come in between; it only adds to the calls.
    """
    store = clients.store()
    seconds, calls, looks = [], [], []
    for turn in range(_SWEEPS + 1):
        before, started = _scripts_run(store), time.perf_counter()
        with redirect_stdout(io.StringIO()):  # the metrics' lines are none of the table's
            swept = sweep(outside(), repair())
        if turn:
            seconds.append(time.perf_counter() - started)
            calls.append((_scripts_run(store) - before) / max(1, swept.promotions))
            looks.append(swept.promotions)
    print(".", end="", flush=True)
    name = f"a sweep, {live:,} live"
    yield Row(name=name, value=statistics.median(seconds), unit="s", rounds=_SWEEPS)
    yield Row(
        name=f"{name}: looks", value=statistics.median(looks), unit="promotions", rounds=_SWEEPS
    )
    yield Row(name=f"{name}: scripts a look", value=min(calls), unit="calls",
              rounds=_SWEEPS)  # fmt: skip


def _scripts_run(store: Redis) -> int:
    of_commands: Any = store.info("commandstats")
    return int(of_commands.get("cmdstat_evalsha", {"calls": 0})["calls"])


def _due(beside: str) -> Iterator[Row]:
    """A hundred that start at one instant, and end at another; the worst of both."""
    instant = clients.store_clock_ms() + _AHEAD_MS
    ids = _make(DUE_AT_ONCE, _AHEAD_MS, _AHEAD_MS + _OPEN_MS, instant - _AHEAD_MS)
    if clients.store_clock_ms() >= instant:
        message = f"making {DUE_AT_ONCE} promotions took longer than {_AHEAD_MS} ms"
        raise InvalidMeasurement(message)
    due = [
        Due(kind, promotion_id, type_, at)
        for promotion_id in ids
        for kind, type_, at in (
            ("starts", "PromotionStarted", instant),
            ("ends", "PromotionFinished", instant + _OPEN_MS),
        )
    ]
    late = lateness(due, happened(due, within_s=60))
    _remove(ids)
    for kind, by in late.items():
        yield Row(name=f"{DUE_AT_ONCE} {kind} at once, {beside}: worst", value=max(by), unit="ms",
                  at_most=LATE_AT_MOST_MS)  # fmt: skip


def _make(count: int, opens_in: int, closes_in: int, now: int | None = None) -> list[str]:
    """Live promotions, in table and store, with the timers that the store asks for."""
    now = now or clients.store_clock_ms()
    offer = Offer(5, Decimal("0.5"), now + opens_in, now + closes_in)
    ids = [f"bench-{secrets.token_hex(6)}" for _ in range(count)]
    with PromotionRow.batch_write() as batch:
        for promotion_id in ids:
            batch.save(PromotionRow.of(promotion_id, offer, None))
    store, there = clients.store(), outside()
    script, fields = scripts.script(store, "install"), store_fields(offer, None)
    timers: list[tuple[Timer, int]] = []
    for start in range(0, count, _AT_ONCE):
        pipe = store.pipeline(transaction=False)
        some = ids[start : start + _AT_ONCE]
        for promotion_id in some:
            keys = promotions.keys_of(promotion_id)
            script(keys=keys, args=[promotion_id, "revision", 0, *fields], client=pipe)
        replies: list[Any] = pipe.execute()
        for promotion_id, (outcome, _, _, timer_at, at) in zip(some, replies, strict=True):
            promotions.expect(outcome, "INSTALLED")
            if timer_at:
                timers.append((Timer(promotion_id, timer_at), at))
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(lambda timer: there.arm(*timer), timers))
    print(".", end="", flush=True)
    return ids


def _remove(ids: Sequence[str]) -> None:
    """Take promotions out of the sweep's list and of the store."""
    with PromotionRow.batch_write() as batch:
        for promotion_id in ids:
            batch.delete(PromotionRow(promotion_id))
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        clients.store().delete(*(key for name in some for key in promotions.keys_of(name)))


@contextmanager
def _in_recovery() -> Iterator[None]:
    """A wiped promotion with a long journal, which ends before all others."""
    now = clients.store_clock_ms()
    offer = Offer(_LONG_JOURNAL, Decimal("0.5"), now, now + _HOUR_MS // 2)
    row = PromotionRow.of(_BROKEN, offer, None)
    assert row.live == LIVE  # noqa: S101 - the sweep has it in its list
    with EventRow.batch_write() as batch:
        for version in range(2, _LONG_JOURNAL):
            event = CouponGrabbed(
                promotion_id=_BROKEN, version=version, at=now, stock=_LONG_JOURNAL,
                available=_LONG_JOURNAL - version, held=0, sold=version, number=version,
                customer_id=f"c-{version}", discount=Decimal("0.5"), grabbed_at=now,
            )  # fmt: skip
            batch.save(EventRow(_BROKEN, version, type=event.type, at=now, event=event.to_wire()))
    row.save()
    try:
        yield
    finally:
        _remove([_BROKEN])


@contextmanager
def _crowd() -> Iterator[None]:
    """Customers who grab from another sale all the time, as fast as one process can."""
    promotion_id = promotions.install(clients.store(), promotions.PLENTY)
    names, stop, there = promotions.customers(), Event(), outside()

    def grab() -> None:
        while not stop.is_set():
            grab_coupon(GrabCoupon(promotion_id, next(names)), there)

    try:
        with ThreadPoolExecutor(1) as threads:
            crowd = threads.submit(grab)
            try:
                with redirect_stdout(io.StringIO()):
                    yield
            finally:
                stop.set()
            crowd.result()  # raises what has stopped it
    finally:
        clients.store().delete(*promotions.keys_of(promotion_id))
