"""What the store answers, or the table's word on a promotion that the store does not know."""

from collections.abc import Callable
from typing import TypeVar

from chalicelib.commands.missing import Verdict, verdict_on
from chalicelib.commands.recover import begin_recovery
from chalicelib.wiring import outside

Done = TypeVar("Done")


def served(
    promotion_id: str, ask: Callable[[], Done], outcome_of: Callable[[Done], str]
) -> Done | Verdict:
    """The store's answer; where its outcome is UNKNOWN, what has become of the promotion.

    RECOVERING is returned only while a recovery runs; if none is needed, the store is asked again.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException: the store or the table is away.
    """
    done = ask()
    if outcome_of(done) != "UNKNOWN":
        return done
    verdict = verdict_on(promotion_id)
    if verdict != "RECOVERING" or begin_recovery(promotion_id, outside()):
        return verdict
    done = ask()
    return done if outcome_of(done) != "UNKNOWN" else verdict
