"""Recovery: give a promotion its state in the store back, from the journal.

Something is wrong, or may be, when a live promotion has no state, when the journal knows a newer
version than the store, when two events came under one version, or when the store is in another
history than the one the state was written in: it was wiped, restarted, or a fail-over forgot its
last writes. Then, in steps that may be repeated and interrupted at any point:

1. Fence: the scripts answer nobody any more, so nothing new is decided. The fence keeps what the
   later steps need: a doubt about the state, and how far step 2 has come.
2. Barrier: wait until what was decided before has reached the journal. That is so when
   `settle_s` have passed (no function that decided before the fence still runs), the outbox's
   events and the promotion's dead letters are in the journal, and the journal's queue is empty, or
   has been without a backlog for long.
3. If nothing was forgotten after all, give the time behind the fence back to open holds, take the
   fence down, and that is it.
4. Rebuild, see rebuild_state.py: fold the journal, decide about coupons that were told twice, write
   the decisions into the journal, and install the state in a new generation of versions.
5. Look for events that came meanwhile, and have the read tables rebuilt. That this is to be done is
   on record in the promotion until it is.

Events that come after a recovery find a store that sells on; see stragglers.py.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis import Redis

from chalicelib import journal, telemetry
from chalicelib.commands import outbox, over, rebuild_state, scripts, stragglers
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.promotions import (
    PromotionRow,
    copy_from_store,
    find_promotion,
    look_after_again,
)
from chalicelib.config import settings
from chalicelib.events import GENERATION
from chalicelib.timers import DOUBT, EARLY_MS, Timer

_AGAIN_MS = 1000
_ASKED_AGAIN_S = 3
_JOURNALED_AT_ONCE = 25
_EXTENDED_AT_ONCE = 100


def _no_dead_letters(_: str) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Repair:
    """What a recovery needs from the read side.

    drained: has what was sent so many seconds ago arrived in the journal? rebuild: write a
    promotion's read tables anew. dead_letters: put those of a promotion that the journal's
    consumer gave up into the journal; returns how many.
    """

    drained: Callable[[float], bool]
    rebuild: Callable[[str], object]
    dead_letters: Callable[[str], int] = _no_dead_letters


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far a recovery has come.

    outcome: HEALTHY, WAITING (for `detail`; a timer goes on with it), RESUMED (nothing was
    forgotten), RECOVERED, INSTALLED (its creation was not complete, and is now), SUPERSEDED
    (another one was first), OVER, UNKNOWN_PROMOTION.
    """

    outcome: str
    detail: str = ""
    replayed: int = 0


def recover_promotion(
    promotion_id: str, outside: Outside, repair: Repair, *, doubted: bool = False
) -> Recovery:
    """Recover a promotion if it needs it, as far as that is possible now.

    With `doubted` it needs it for sure: its state was seen to be wrong. A healthy one lets events
    count that came after a recovery. One that is over is watched again if there are such events.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException: the store or a table is away;
            the fence stays, and calling again goes on.
    """
    row = find_promotion(promotion_id)
    if row is None:
        return Recovery("UNKNOWN_PROMOTION")
    if row.live is None:
        if not stragglers.found(promotion_id, journal.read_late(promotion_id)):
            return Recovery("OVER")
        look_after_again(promotion_id)
    recovery = recover_row(row, outside, repair, doubt="STATE_WRONG" if doubted else "")
    if recovery.outcome == "HEALTHY":
        stragglers.let_count(promotion_id, journal.read_late(promotion_id), outside)
    return recovery


def recover_row(
    row: PromotionRow, outside: Outside, repair: Repair, *, doubt: str = "", waits: bool = True
) -> Recovery:
    """The same for a promotion whose row was read; without `waits` there is no barrier.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException: see `recover_promotion`.
    """
    promotion_id = row.promotion_id
    expected = _expected_version(promotion_id), int(row.revision)
    fence = _fence(promotion_id, expected, doubt, outside.store)
    if fence.outcome == "HEALTHY":
        finish_recovery(promotion_id, outside, repair)
        return Recovery("HEALTHY")
    if waits:
        waits_for = _barrier(promotion_id, fence.detail, outside.store, repair)
        if waits_for:
            _come_again(promotion_id, fence.detail["now"], outside)
            return Recovery("WAITING", waits_for)
    token = fence.detail["token"]
    recovery = _resume(row, token, outside)
    if recovery.outcome == "STALE":
        recovery = _rebuild(row, fence.detail, outside)
    telemetry.count("recoveries", by={"outcome": recovery.outcome}, promotion=promotion_id)
    if recovery.outcome in ("RECOVERED", "RESUMED", "INSTALLED"):
        over.forget(promotion_id)
        outbox.publish_waiting(promotion_id, outside.store, outside.publisher)
        decide(outside, "advance", promotion_id)
        copy_from_store(promotion_id, outside.store)
        finish_recovery(promotion_id, outside, repair)
    return recovery


def bring_back(promotion_id: str, outside: Outside, repair: Repair) -> Recovery:
    """Have a promotion in the store again that it had let go of, a while after its end.

    Nothing of it can be on its way any more, so there is no barrier. The sweep watches it until
    nothing of it is open.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException: see `recover_promotion`.
    """
    look_after_again(promotion_id)
    row = find_promotion(promotion_id)
    if row is None:
        return Recovery("UNKNOWN_PROMOTION")
    return recover_row(row, outside, repair, waits=False)


def begin_recovery(promotion_id: str, outside: Outside) -> bool:
    """Fence a promotion that the store can't serve, and have a timer go on with its recovery.

    A crowd that asks is one request every few seconds. Returns whether it is being recovered: if
    not, the store serves it again.

    Raises:
        redis.RedisError: the store is away.
    """
    asked = scripts.key(promotion_id, "asked")
    if not outside.store.set(asked, 1, nx=True, ex=_ASKED_AGAIN_S):
        return True
    if _fence(promotion_id, (0, 0), "", outside.store).outcome == "HEALTHY":
        outside.store.delete(asked)
        return False
    outside.arm(Timer(promotion_id, DOUBT), 0)
    return True


def finish_recovery(promotion_id: str, outside: Outside, repair: Repair) -> None:
    """Do what must follow a recovery, if that is on record as still to be done.

    The read tables are rebuilt. An event that came while the recovery read the journal is in
    nobody's sight: the recovery was without it, and its consumer did not see the recovery yet. So
    the journal is looked at once more.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException: it stays on record.
    """
    wanted = outside.store.hget(scripts.key(promotion_id, "promotion"), "rebuild")
    if wanted is not None:
        stragglers.let_count(promotion_id, journal.read_late(promotion_id), outside)
        if not str(wanted).startswith("LATE "):  # the tables followed a sale that was resumed
            repair.rebuild(promotion_id)
        scripts.run(outside.store, "rebuild", promotion_id, "DONE", str(wanted))


def _fence(promotion_id: str, expected: tuple[int, int], doubt: str, store: Redis) -> scripts.Reply:
    """Fence it unless it is healthy: its version and revision are at least as expected."""
    version, revision = expected
    token = secrets.token_hex(8)
    return scripts.run(store, "fence", promotion_id, version, token, doubt, "", revision)


def _come_again(promotion_id: str, now: int, outside: Outside) -> None:
    """Go on in a second, in which the message waits in its queue.

    However many look at it, one timer is enough.
    """
    armed = scripts.key(promotion_id, "going_on")
    if outside.store.set(armed, 1, nx=True, px=_AGAIN_MS - EARLY_MS):
        outside.arm(Timer(promotion_id, now + _AGAIN_MS), now - EARLY_MS)


def _expected_version(promotion_id: str) -> int:
    """A version that the store must have reached, unless it is stale.

    The journal is read before the store, whose version only grows, so a healthy store is never
    found behind. After a conflict all of that generation is doubtful.
    """
    doubtful = [int(row.conflict.split("-")[0]) for row in journal.conflicts(promotion_id)]
    after_conflicts = (max(doubtful) // GENERATION + 1) * GENERATION if doubtful else 0
    return max(journal.newest_version(promotion_id), after_conflicts)


def _barrier(promotion_id: str, fence: Any, store: Redis, repair: Repair) -> str:
    """What has to be waited for, in a few words; nothing when the barrier is passed."""
    settled_ms = fence["now"] - fence["since"] - round(settings().settle_s * 1000)
    if settled_ms < 0:
        return "functions that decided before the fence"
    _journal_outbox(promotion_id, fence, store)
    repair.dead_letters(promotion_id)
    if not repair.drained(settled_ms / 1000):
        return "events on their way to the journal"
    return ""


def _journal_outbox(promotion_id: str, fence: Any, store: Redis) -> None:
    """Put what waits in the outbox into the journal, in pieces; the fence keeps how far it is."""
    journaled = fence["journaled"]
    while batch := outbox.waiting(promotion_id, store, _JOURNALED_AT_ONCE, behind=journaled):
        for event in batch:
            journal.append(event)
        journaled = batch[-1].version
        scripts.run(store, "fence", promotion_id, 0, fence["token"], "", journaled)


def _resume(row: PromotionRow, token: str, outside: Outside) -> Recovery:
    """Take the fence down if the state is complete: the journal has all there can be by now."""
    promotion_id = row.promotion_id
    known = (token, _expected_version(promotion_id), int(row.revision), _EXTENDED_AT_ONCE)
    while (decision := decide(outside, "resume", promotion_id, *known)).outcome == "EXTENDED":
        pass
    return Recovery(decision.outcome)


def _rebuild(row: PromotionRow, fence: Any, outside: Outside) -> Recovery:
    newest = journal.newest_version(row.promotion_id)
    events = list(journal.read(row.promotion_id))
    if not events and row.creating is not None:
        return Recovery(_finish_creation(row, outside))
    outcome, reason = rebuild_state.rebuild(row, events, newest, fence, outside.store)
    return Recovery(outcome, reason, len(events))


def _finish_creation(row: PromotionRow, outside: Outside) -> str:
    """Its creation was interrupted: nothing of it was ever decided, so it is just put in place."""
    install_promotion(row, outside)
    return "INSTALLED"
