"""Recovery: give a promotion its state in the store back, from the journal.

Something is wrong, or may be, when a live promotion has no state, when the journal knows a newer
version than the store, when two events came under one version, or when the store is in another
history than the one the state was written in: it was wiped, restarted, or a fail-over forgot its
last writes. Then, in steps that may be repeated and interrupted at any point:

1. Fence: the scripts answer nobody any more, so nothing new is decided.
2. Barrier: wait until what was decided before has reached the journal. That is so when
   `settle_s` have passed (no function that decided before the fence still runs), the outbox's
   events are in the journal, and the journal's queue is empty, or has been without a backlog for
   long.
3. If nothing was forgotten after all, take the fence down, and that is it.
4. Fold the journal, and the conflicts with it; who was told yes keeps the coupon as long as the
   stock lasts, and has a truthful record otherwise.
5. Install, in one step that only the holder of the fence can do. A new generation of versions
   begins, so nothing of before can be mistaken for something of after.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from redis import Redis

from chalicelib import events, journal, telemetry
from chalicelib.commands import fold, outbox, over, scripts
from chalicelib.commands.amends import make_amends
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.fold import Folded
from chalicelib.commands.offer import store_fields
from chalicelib.commands.promotions import PromotionRow, find_promotion
from chalicelib.config import settings
from chalicelib.events import GENERATION, AnyEvent
from chalicelib.timers import DOUBT, EARLY_MS, Timer

_CHUNK = 500
_AGAIN_MS = 1000
# What a recovery that was interrupted has built goes away by itself.
_BUILT_LIVES_S = 3600


@dataclass(frozen=True, slots=True)
class Repair:
    """What a recovery needs from the read side.

    drained: has what was sent so many seconds ago arrived in the journal? rebuild: write a
    promotion's read tables anew.
    """

    drained: Callable[[float], bool]
    rebuild: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far a recovery has come.

    outcome: HEALTHY, WAITING (for `detail`; a timer goes on with it), RESUMED (nothing was
    forgotten), RECOVERED, SUPERSEDED (another one was first), OVER, UNKNOWN_PROMOTION.
    """

    outcome: str
    detail: str = ""
    replayed: int = 0


def recover_promotion(
    promotion_id: str, outside: Outside, repair: Repair, *, doubted: bool = False
) -> Recovery:
    """Recover a promotion if it needs it, as far as that is possible now.

    With `doubted` it needs it for sure: somebody has seen that its state is wrong.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException: the store or a table is away;
            the fence stays, and calling again goes on.
    """
    row = find_promotion(promotion_id)
    if row is None:
        return Recovery("UNKNOWN_PROMOTION")
    if row.live is None:
        return Recovery("OVER")
    expected = GENERATION**2 if doubted else _expected_version(promotion_id)
    fence = scripts.run(outside.store, "fence", promotion_id, expected, secrets.token_hex(8))
    if fence.outcome == "HEALTHY":
        return Recovery("HEALTHY")
    waits_for = _barrier(promotion_id, fence.detail, outside.store, repair)
    if waits_for:
        _come_again(promotion_id, fence.detail["now"], outside)
        return Recovery("WAITING", waits_for)
    recovery = _resume(row, fence.detail["token"], outside.store, doubted=doubted)
    if recovery.outcome == "STALE":
        recovery = _recover(row, fence.detail["token"], fence.detail["now"], outside.store)
    telemetry.count("recoveries", by={"outcome": recovery.outcome}, promotion=promotion_id)
    if recovery.outcome in ("RECOVERED", "RESUMED"):
        over.forget(promotion_id)
        outbox.publish_waiting(promotion_id, outside.store, outside.publisher)
        decide(outside, "advance", promotion_id)
    if recovery.outcome == "RECOVERED":
        repair.rebuild(promotion_id)
    return recovery


def _come_again(promotion_id: str, now: int, outside: Outside) -> None:
    """Go on in a second; however many look at it, one timer is enough."""
    armed = scripts.key(promotion_id, "going_on")
    if outside.store.set(armed, 1, nx=True, px=_AGAIN_MS - EARLY_MS):
        outside.arm(Timer(promotion_id, now + _AGAIN_MS), now)


def ask_for_recovery(promotion_id: str, outside: Outside) -> None:
    """Have a recovery begin at once; a crowd that asks is one request every few seconds.

    Raises:
        redis.RedisError: the store is away.
    """
    if outside.store.set(scripts.key(promotion_id, "asked"), 1, nx=True, ex=3):
        outside.arm(Timer(promotion_id, DOUBT), 0)


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
    for event in outbox.waiting(promotion_id, store):
        journal.append(event)
    if not repair.drained(settled_ms / 1000):
        return "events on their way to the journal"
    return ""


def _resume(row: PromotionRow, token: str, store: Redis, *, doubted: bool) -> Recovery:
    """Take the fence down if the state is complete: the journal has all there can be by now."""
    promotion_id = row.promotion_id
    expected = GENERATION**2 if doubted else _expected_version(promotion_id)
    known = ("resume", promotion_id, token, expected, int(row.revision))
    return Recovery(scripts.run(store, *known).outcome)


def _recover(row: PromotionRow, token: str, now: int, store: Redis) -> Recovery:
    promotion_id = row.promotion_id
    stale = store.hexists(scripts.key(promotion_id, "promotion"), "state")
    replayed = list(journal.read(promotion_id))
    conflicts = journal.conflicts(promotion_id)
    folded = fold.fold(replayed)
    changed = fold.fold_in(folded, [events.parse(row.event) for row in conflicts])
    if folded.started is None:
        folded.stock += int(row.number_of_coupons)
    lost = fold.missing_versions(replayed)
    if lost:
        telemetry.count("events_lost", lost, promotion=promotion_id)
    reason = "WRITES_LOST" if stale else "STATE_LOST"
    decided = make_amends(folded, changed, promotion_id, now, reason, lost)
    outcome = _install(row, token, folded, decided, store)
    if outcome == "RECOVERED":
        journal.settle(conflicts)
    return Recovery(outcome, reason, len(replayed))


def _install(
    row: PromotionRow, token: str, folded: Folded, decided: Sequence[AnyEvent], store: Redis
) -> str:
    """Build the state under keys of its own, in pieces, then put it in place in one step."""
    promotion_id = row.promotion_id
    keys = [scripts.key(promotion_id, part) for part in scripts.PARTS]
    mine = secrets.token_hex(8)
    promotion, customers, queued, holds = built = [f"{key}:{mine}" for key in keys]
    pipe: Any = store.pipeline(transaction=False)
    pipe.hset(promotion, mapping=_promotion_fields(row, folded))
    for chunk in _chunks(fold.customers(folded)):
        pipe.hset(customers, mapping=chunk)
    for chunk in _chunks(fold.holds(folded)):
        pipe.zadd(holds, chunk)
    earlier = [e for e in outbox.waiting(promotion_id, store) if e.version < decided[0].version]
    for event in [*earlier, *decided]:
        pipe.xadd(queued, events.to_entry(event), id=f"{event.version}-0")
    for key in built:
        pipe.expire(key, _BUILT_LIVES_S)
    pipe.execute()
    # What is built must not expire once it is in place: recover.lua makes it last.
    script = scripts.script(store, "recover")
    outcome: str = script(keys=[*keys, *built], args=[promotion_id, token])[0]
    return outcome


def _promotion_fields(row: PromotionRow, folded: Folded) -> dict[str, str | int]:
    offer = iter(store_fields(row.offer(), row.exact_price()))
    named = dict(zip(offer, offer, strict=True))
    if folded.started is not None:
        named |= {
            "opens_at": folded.started.opens_at,
            "closes_at": folded.started.closes_at,
            "discount": str(folded.started.discount),
        }
        named.pop("admission", None)
        if folded.started.admission is not None:
            named["admission"] = folded.started.admission
    state, closed_as = fold.state_of(folded)
    if closed_as is None and row.closed_as is not None:  # its end was told, and its event is lost
        closed_as = row.closed_as
        state = "CANCELLED" if closed_as == "CANCELLED" else "FINISHED"
    named |= {
        "state": state,
        "version": folded.newest,
        "stock": folded.stock,
        "available": folded.stock - folded.held - folded.sold,
        "sold": folded.sold,
        "granted": max((number for _, number in folded.coupons), default=0),
        "revision": int(row.revision),
    }
    if closed_as is not None:
        named["closed_as"] = closed_as
        named["closed_at"] = folded.ended.at if folded.ended else 0
    for restock in folded.restocks:
        named[f"restock:{restock.request_key}"] = restock.added
    return {str(name): value for name, value in named.items()}


def _chunks(items: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pairs = iter(items.items())
    while chunk := dict(islice(pairs, _CHUNK)):
        yield chunk
