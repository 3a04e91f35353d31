"""A timer has come: touch its promotion, on the millisecond."""

import secrets
import time

from redis import Redis

from chalicelib import telemetry
from chalicelib.clients import elsewhere
from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.commands.sweep import advance_promotion
from chalicelib.timers import DOUBT, EARLY_MS, Timer, check_in

# A queue's delay is in whole seconds, rounded down: this much is left to wait at the most.
_LONGEST_WAIT_S = 1 + EARLY_MS / 1000
# Of the 20 timers that are worked on at once, so many may be recoveries: those that start or end a
# sale take a moment, a recovery takes as long as the function may.
RECOVERIES_AT_ONCE = 5
# A recovery that was killed gives its place back after the function's time limit.
_PLACE_LIVES_S = 15
_QUEUED_S = 3
_BEFORE_IT_COMES_MS = 500


def wake_promotion(timer: Timer, outside: Outside, repair: Repair) -> str:
    """Advance the promotion at the timer's time, or go on with its recovery; returns the outcome.

    A timer that comes more than a second early is armed again, and what is due meanwhile happens:
    a clock that was set back must not keep a recovery waiting.

    Raises:
        redis.RedisError: the store is away or refused; the message comes again.
    """
    now_ms = scripts.clock_ms(timer.promotion_id, outside.store)
    wait_s = (timer.due_at - now_ms) / 1000
    early = wait_s > _LONGEST_WAIT_S
    if early:
        outside.arm(timer, now_ms)
    elif wait_s > 0:
        time.sleep(wait_s)
    outcome = advance_promotion(timer.promotion_id, outside).outcome
    if outcome == "UNKNOWN" or timer.due_at == DOUBT:
        return _recover(timer.promotion_id, outside, repair)
    return "EARLY" if early else outcome


def _recover(promotion_id: str, outside: Outside, repair: Repair) -> str:
    """Go on with the recovery if one of the places is free; else a few seconds later.

    However many messages there are of a promotion, one of them comes again: customers and late
    events send more of them than there are places for.

    Returns its outcome, or QUEUED.
    """
    place = _take_place(outside.store)
    if place is None:
        telemetry.count("recoveries_queued", promotion=promotion_id)
        queued = scripts.key(promotion_id, "queued")
        # It is gone before the message comes again.
        if outside.store.set(queued, 1, nx=True, px=_QUEUED_S * 1000 - _BEFORE_IT_COMES_MS):
            outside.arm(*check_in(promotion_id, _QUEUED_S))
        return "QUEUED"
    try:
        return recover_promotion(promotion_id, outside, repair).outcome
    finally:
        _leave_place(*place, outside.store)


def _take_place(store: Redis) -> tuple[str, str] | None:
    """The key of a free place, and the token by which it is held; None if all are taken.

    A node of a cluster that is away keeps no recovery on the other nodes waiting: its places count
    as free.
    """
    token = secrets.token_hex(8)
    for number in range(RECOVERIES_AT_ONCE):
        key = f"seckill:recovering:{number}"
        with elsewhere(store):
            if not store.set(key, token, nx=True, ex=_PLACE_LIVES_S):
                continue
        return key, token
    return None


def _leave_place(key: str, token: str, store: Redis) -> None:
    with elsewhere(store):
        if store.get(key) == token:
            store.delete(key)
