"""The journal: every event, put if absent. The system of record."""

import time
from collections.abc import Callable
from typing import Any

from chalicelib import clients, journal, telemetry, timers
from chalicelib.config import settings
from chalicelib.events import GENERATION, AnyEvent


def ask_for_a_check(promotion_id: str) -> None:
    """Have the promotion compared with its journal at once.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: the queue is away; the
            event's message comes again, and asks again.
    """
    timers.check_now(clients.sqs(), settings().timers_queue_url, promotion_id)


def on_event(event: AnyEvent, ask: Callable[[str], None] = ask_for_a_check) -> None:
    """Store `event`, as it was published, unless it is there already.

    Another event under the same version is kept as a conflict, and an alarm metric rises: the
    store has gone back in time. An event of before a recovery may have come too late for it. Both
    have the promotion checked.

    Raises:
        pynamodb.exceptions.PutError, pynamodb.exceptions.QueryError: the table is away.
    """
    facts: dict[str, Any] = {"version": event.version, "type": event.type}
    if journal.append(event) == "CONFLICT":
        telemetry.count("journal_conflict", promotion=event.promotion_id, **facts)
        ask(event.promotion_id)
    elif _is_late(event):
        telemetry.count("journal_late", promotion=event.promotion_id, **facts)
        ask(event.promotion_id)


def _is_late(event: AnyEvent) -> bool:
    """Whether a recovery has begun a new generation since.

    No recovery ends sooner than `settle_s` after the last decision of before, so what is younger
    than half of that needs no look at the table.
    """
    age_s = time.time() - event.at / 1000
    if 0 <= age_s < settings().settle_s / 2:
        return False
    newest = journal.newest_version(event.promotion_id)
    return newest // GENERATION > event.version // GENERATION
