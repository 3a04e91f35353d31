"""The sweep: on a schedule, touch every live promotion, in case nobody else does.

It starts and finishes what is due, releases overdue holds, publishes what a crash or an outage
left in the outbox, recovers what the store has lost, lets the table follow the store, and lets
the keys of promotions that are over expire. It decides nothing that a grab would not decide too,
so a late or a doubled sweep changes nothing.

It has two passes, because thousands of promotions may be live, and one may need long. The first
takes one look at each: one call of the store, and none of the tables. The second works on those
that the look found in need of more, first come, first served. Each pass has its time, and goes on
in the next sweep. Whose turn it is stays in the store, so a promotion that takes all the time, or
ends the process, is not the first again.
"""

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from threading import Lock
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from pynamodb.exceptions import PynamoDBException
from redis import Redis

from chalicelib import telemetry
from chalicelib.clients import AWS_ERRORS, STORE_ERRORS, elsewhere
from chalicelib.commands import outbox, scripts
from chalicelib.commands.decision import Decision, NotOnRecord, Outside, decide
from chalicelib.commands.promotions import (
    PromotionRow,
    close_promotion,
    copy_from_store,
    find_promotion,
    live_promotions,
    note_checked,
    note_created,
    note_end,
    place_time,
)
from chalicelib.commands.recover import Repair, recover_row
from chalicelib.config import settings
from chalicelib.events import AnyEvent
from chalicelib.publisher import BrokerUnavailable, EventPublisher

_OUTAGES = (*STORE_ERRORS, *AWS_ERRORS, PynamoDBException)
# What a row, an event or a state raises that is not as it should be: it stops nobody else.
_FAULTS = (*_OUTAGES, NotOnRecord, ValueError, TypeError, ArithmeticError, LookupError)
_OPEN = ("SCHEDULED", "ON_SALE")
# Ten releases a call; what is left then is for the next timer, which is armed.
_ADVANCES_AT_ONCE = 100
# The function may take ten seconds. A pass ends with its last promotion, which may take a few.
_LOOKS_S = 5.0
_WORK_S = 2.5
_LOOKED_AT_ONCE = 100
_THREADS = 8
# Timers that are due so soon are sent once more: a message that got lost is no late start then.
_ARMS_AGAIN_MS = 150_000
_TURN_LIVES_S = 24 * 3600
_LOOKS_TURN = "seckill:sweep:looks"
_WORK_QUEUE = "seckill:sweep:work"


@dataclass(slots=True)
class Swept:
    """What a sweep found: how many were looked at, closed, and failed; events still waiting.

    oldest_ms: how long the oldest event that still waits has been waiting. behind: how many still
    wait for the second pass; they are the first of the next one.
    """

    promotions: int = 0
    closed: int = 0
    waiting: int = 0
    oldest_ms: int = 0
    behind: int = 0
    failed: list[str] = field(default_factory=list)

    def add(self, other: "Swept") -> None:
        """Count what another thread has found."""
        self.closed += other.closed
        self.waiting += other.waiting
        self.oldest_ms = max(self.oldest_ms, other.oldest_ms)
        self.failed += other.failed

    def to_json(self) -> dict[str, Any]:
        """The findings as JSON types."""
        return asdict(self)


class _UntilAway:
    """A broker that does not answer is asked once in a sweep: nothing else waits for it."""

    def __init__(self, publisher: EventPublisher) -> None:
        """Publish by `publisher`."""
        self._publisher = publisher
        self._away = False
        self._answers = False
        self._first = Lock()

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """See EventPublisher."""
        if self._answers:
            return self._ask(events)
        with self._first:  # until the first answer, one thread asks and the others wait for it
            return self._ask(events)

    def _ask(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        if self._away:
            message = f"{len(events)} events wait: the broker did not answer in this sweep"
            raise BrokerUnavailable(message)
        try:
            published = self._publisher.publish(events)
        except BrokerUnavailable:
            self._away, self._answers = True, False
            raise
        self._answers = True
        return published


@dataclass(frozen=True, slots=True)
class _Look:
    """What the first pass has found of a promotion: the look's decision, or why it failed."""

    row: PromotionRow
    decision: Decision | None
    failure: Exception | None = None

    @property
    def needs_work(self) -> bool:
        """Whether there is more to do than the look has done."""
        if self.decision is None:
            return False
        detail, row = self.decision.reply.detail, self.row
        return (
            self.decision.outcome not in _OPEN
            or detail["version"] != row.checked_version
            or detail["revision"] != row.revision
            or detail["waiting"] > 0
            or "rebuild" in detail
            or row.creating is not None
        )


def sweep(outside: Outside, repair: Repair) -> Swept:
    """Look after every live promotion; one that fails does not keep the others from their turn.

    Raises:
        pynamodb.exceptions.PynamoDBException: the list of live promotions can't be read.
        redis.RedisError: the store is away.
    """
    outside = replace(outside, publisher=_UntilAway(outside.publisher))
    swept = Swept()
    looks = _look_at_all(outside, swept)
    _work_on(looks, outside, repair, swept)
    telemetry.count("outbox_waiting", swept.waiting)
    telemetry.count("sweep_behind", swept.behind)
    telemetry.measure("outbox_age", swept.oldest_ms, MetricUnit.Milliseconds)
    return swept


def advance_promotion(promotion_id: str, outside: Outside) -> Decision:
    """Move a promotion to now, with up to 1,000 overdue holds; a timer goes on with more.

    Raises:
        redis.RedisError: the store is away or refused.
    """
    for _ in range(_ADVANCES_AT_ONCE):
        decision = decide(outside, "advance", promotion_id)
        if "backlog" not in decision.reply.detail or not decision.published:
            break
    return decision


def _look_at_all(outside: Outside, swept: Swept) -> dict[str, _Look]:
    """The first pass, from where the last one stopped; returns those that need work.

    The turn is noted before a piece is looked at. A piece that ended the process is looked at one
    by one in the next sweep, so it costs nobody but its cause a turn.
    """
    found: dict[str, _Look] = {}
    until = time.monotonic() + _LOOKS_S
    begin, end = _read_turn(outside.store)
    rows = _round(begin)
    unfinished = ""
    with ThreadPoolExecutor(_THREADS) as threads:
        try:
            while not unfinished and (chunk := list(islice(rows, 1 if end else _LOOKED_AT_ONCE))):
                last = chunk[-1].place()
                _note_turn(outside.store, last if end else begin, end or last)
                for look in threads.map(lambda row: _look_at(row, outside), chunk):
                    swept.promotions += 1
                    if look.failure is not None:
                        _failed(look.row.promotion_id, look.failure, swept)
                    elif look.needs_work:
                        found[look.row.promotion_id] = look
                begin, end = last, "" if _order(last) >= _order(end) else end
                unfinished = "no time is left" if time.monotonic() > until else ""
        except PynamoDBException as error:  # a page of the list; what was found gets its work
            if not swept.promotions:
                raise
            unfinished = repr(error)
    if unfinished:
        telemetry.count("sweep_looks_unfinished", reason=unfinished)
        _note_turn(outside.store, begin, end)
        return found
    _note_turn(outside.store, "", "")
    return found


def _read_turn(store: Redis) -> tuple[str, str]:
    """Behind which place to go on, and up to which one by one: see `_note_turn`."""
    with elsewhere(store):
        if text := store.get(_LOOKS_TURN):
            begin, end = json.loads(str(text))
            return begin, end
    return "", ""


def _note_turn(store: Redis, begin: str, end: str) -> None:
    """Note that the looks up to place `begin` are done, and those up to `end` have begun."""
    with elsewhere(store):
        store.set(_LOOKS_TURN, json.dumps([begin, end]), ex=_TURN_LIVES_S)


def _order(place: str) -> tuple[int, str]:
    """Places as the list of live promotions has them."""
    return (place_time(place), place.partition(" ")[2]) if place else (0, "")


def _round(last: str) -> Iterator[PromotionRow]:
    """Each live promotion once: those behind the place `last` first, then those up to it."""
    yield from live_promotions(last)
    if last:
        for row in live_promotions():
            if row.finish_time > place_time(last):
                return
            yield row


def _look_at(row: PromotionRow, outside: Outside) -> _Look:
    """One look: one call of the store. What is due happens, and waiting events are published."""
    try:
        return _Look(row, decide(outside, "advance", row.promotion_id, _ARMS_AGAIN_MS))
    except _FAULTS as error:
        return _Look(row, None, error)


def _work_on(looks: dict[str, _Look], outside: Outside, repair: Repair, swept: Swept) -> None:
    """The second pass; what it has no time for stays in the queue, in the order of arrival."""
    store = outside.store
    queue = _Queue(list(looks), store)
    until = time.monotonic() + _WORK_S

    def work(_: int) -> Swept:
        done = Swept()
        while promotion_id := queue.pop():
            row = looks[promotion_id].row if promotion_id in looks else None
            try:
                row = row or find_promotion(promotion_id)
                if row is not None and row.live is not None:
                    _sweep_one(row, done, outside, repair)
            except _FAULTS as error:
                _failed(promotion_id, error, done)
            if time.monotonic() > until:
                break
        return done

    workers = min(_THREADS, queue.length())
    if workers:
        with ThreadPoolExecutor(workers) as threads:
            for done in threads.map(work, range(workers)):
                swept.add(done)
        swept.behind = queue.length()


class _Queue:
    """Whose turn it is for work, kept in the store from one sweep to the next: first come first.

    Where a cluster's node that keeps it is away, the sweep works on what it has found itself.
    """

    def __init__(self, found: list[str], store: Redis) -> None:
        """Put those that were found behind those that wait; who waits already keeps the place."""
        self._store = store
        self._found = deque(found)
        if found:
            with elsewhere(store):
                store.zadd(_WORK_QUEUE, dict.fromkeys(found, time.time()), nx=True)
                store.expire(_WORK_QUEUE, _TURN_LIVES_S)

    def pop(self) -> str | None:
        """The next one; taken out before the work, because a look finds what is left of it."""
        with elsewhere(self._store):
            popped = self._store.zpopmin(_WORK_QUEUE)
            return str(popped[0][0]) if popped else None
        return self._found.popleft() if self._found else None

    def length(self) -> int:
        """How many wait still."""
        with elsewhere(self._store):
            return int(self._store.zcard(_WORK_QUEUE))
        return len(self._found)


def _failed(promotion_id: str, error: Exception, swept: Swept) -> None:
    swept.failed.append(promotion_id)
    telemetry.count("sweep_failed", promotion=promotion_id, reason=repr(error))


def _sweep_one(row: PromotionRow, swept: Swept, outside: Outside, repair: Repair) -> None:
    promotion_id = row.promotion_id
    recovery = recover_row(row, outside, repair)
    if recovery.outcome != "HEALTHY":
        step, why = recovery.outcome, recovery.detail
        telemetry.count("promotion_missing", promotion=promotion_id, outcome=step, detail=why)
        return
    decision = advance_promotion(promotion_id, outside)
    outcome = decision.outcome
    copy_from_store(promotion_id, outside.store)
    if row.creating is not None:
        note_created(promotion_id)
    relayed = outbox.relay(promotion_id, outside.store, outside.publisher)
    swept.waiting += relayed.waiting
    if relayed.refused:
        age_ms = outbox.oldest_waits_ms(promotion_id, outside.store)
        swept.oldest_ms = max(swept.oldest_ms, age_ms)
    if outcome in _OPEN:
        note_checked(promotion_id, decision.reply.detail["version"])
        return
    if row.closed_as is None:
        note_end(promotion_id, outcome)
    watch_ms = round(settings().watch_s * 1000)
    retired = scripts.run(outside.store, "retire", promotion_id, watch_ms).outcome == "RETIRED"
    if retired and close_promotion(promotion_id, outcome, row, watch_ms):
        swept.closed += 1
