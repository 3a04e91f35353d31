"""A timer has come: touch its promotion, on the millisecond."""

import time

from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.commands.sweep import advance_promotion
from chalicelib.timers import DOUBT, EARLY_MS, Timer

# A queue's delay is in whole seconds, rounded down: this much is left to wait at the most.
_LONGEST_WAIT_S = 1 + EARLY_MS / 1000


def wake_promotion(timer: Timer, outside: Outside, repair: Repair) -> str:
    """Advance the promotion at the timer's time, or go on with its recovery; returns how it went.

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
        return recover_promotion(timer.promotion_id, outside, repair).outcome
    return "EARLY" if early else outcome
