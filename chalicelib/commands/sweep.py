"""The sweep: on a schedule, touch every live promotion, in case nobody else does.

It starts and finishes what is due, releases overdue holds, publishes what a crash or an outage
left in the outbox, recovers what the store has lost, lets the table follow the store, and lets
the keys of promotions that are over expire. It decides nothing that a grab would not decide too,
so a late or a doubled sweep changes nothing.

It has two passes, because thousands of promotions may be live, and one may need long. The first
takes one look at each: one call of the store, and none of the tables. The second works on those
that the look found in need of more. Each pass has its time, and each goes on where it stopped, in
the next sweep if need be; a promotion that takes more than there is of it is not the first again.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from pynamodb.exceptions import PynamoDBException
from redis import Redis, RedisCluster

from chalicelib import telemetry
from chalicelib.clients import AWS_ERRORS, STORE_ERRORS
from chalicelib.commands import outbox, scripts
from chalicelib.commands.decision import Decision, NotOnRecord, Outside, decide
from chalicelib.commands.promotions import (
    PromotionRow,
    close_promotion,
    copy_from_store,
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
_TURN_LIVES_S = 24 * 3600


@dataclass(slots=True)
class Swept:
    """What a sweep found: how many were looked at, closed, and failed; events still waiting.

    oldest_ms: how long the oldest event that still waits has been waiting. behind: how many the
    sweep had no time for; they are the first of the next one.
    """

    promotions: int = 0
    closed: int = 0
    waiting: int = 0
    oldest_ms: int = 0
    behind: int = 0
    failed: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The findings as JSON types."""
        return asdict(self)


class _UntilAway:
    """A broker that is not asked again in this sweep once it did not answer: nobody else waits."""

    def __init__(self, publisher: EventPublisher) -> None:
        """Publish by `publisher`."""
        self._publisher = publisher
        self._away = False

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """See EventPublisher."""
        if self._away:
            message = f"{len(events)} events wait: the broker did not answer in this sweep"
            raise BrokerUnavailable(message)
        try:
            return self._publisher.publish(events)
        except BrokerUnavailable:
            self._away = True
            raise


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
    """The first pass, from where the last one stopped; returns those that need work."""
    found: dict[str, _Look] = {}
    until = time.monotonic() + _LOOKS_S
    turn = _Turn("looks", outside.store)
    rows = _round(turn.last)
    with ThreadPoolExecutor(_THREADS) as threads:
        while chunk := list(islice(rows, _LOOKED_AT_ONCE)):
            for look in threads.map(lambda row: _look_at(row, outside), chunk):
                swept.promotions += 1
                if look.failure is not None:
                    _failed(look.row, look.failure, swept)
                elif look.needs_work:
                    found[look.row.promotion_id] = look
            turn.note(chunk[-1].place())
            if time.monotonic() > until:
                telemetry.count("sweep_looks_unfinished")
                return found
    turn.note("")
    return found


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
        return _Look(row, decide(outside, "advance", row.promotion_id))
    except _FAULTS as error:
        return _Look(row, None, error)


def _work_on(looks: dict[str, _Look], outside: Outside, repair: Repair, swept: Swept) -> None:
    """The second pass; the one that began last in the sweep before is the last now."""
    until = time.monotonic() + _WORK_S
    turn = _Turn("work", outside.store)
    ids = list(looks)
    first = ids.index(turn.last) + 1 if turn.last in looks else 0
    for done, promotion_id in enumerate([*ids[first:], *ids[:first]]):
        if time.monotonic() > until:
            swept.behind = len(ids) - done
            return
        turn.note(promotion_id)
        row = looks[promotion_id].row
        try:
            _sweep_one(looks[promotion_id], swept, outside, repair)
        except _FAULTS as error:
            _failed(row, error, swept)


def _failed(row: PromotionRow, error: Exception, swept: Swept) -> None:
    swept.failed.append(row.promotion_id)
    telemetry.count("sweep_failed", promotion=row.promotion_id, reason=repr(error))


class _Turn:
    """Whose turn it was last, kept in the store from sweep to sweep; "" for the beginning.

    In a cluster the node that keeps it may be away: the sweep begins at the beginning then, and
    looks after the promotions of the other nodes.
    """

    def __init__(self, name: str, store: Redis) -> None:
        """The turn of a pass."""
        self._key = f"seckill:sweep:{name}"
        self._store = store
        self.last = ""
        with self._may_be_away():
            self.last = str(store.get(self._key) or "")

    def note(self, last: str) -> None:
        """Note it before the work begins: what kills the sweep is not the first of the next one."""
        with self._may_be_away():
            self._store.set(self._key, last, ex=_TURN_LIVES_S)

    @contextmanager
    def _may_be_away(self) -> Iterator[None]:
        try:
            yield
        except STORE_ERRORS as error:
            if not isinstance(self._store, RedisCluster):
                raise
            telemetry.count("sweep_turn_unknown", reason=str(error))


def _sweep_one(look: _Look, swept: Swept, outside: Outside, repair: Repair) -> None:
    row, promotion_id = look.row, look.row.promotion_id
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
