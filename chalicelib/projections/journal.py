"""The journal: every event, put if absent. The system of record."""

from chalicelib import journal, telemetry
from chalicelib.events import AnyEvent


def on_event(event: AnyEvent) -> None:
    """Store `event` unless it is there already.

    Another event under the same version is kept as a conflict, and an alarm metric rises: the
    store has gone back in time, and the sweep recovers the promotion.

    Raises:
        pynamodb.exceptions.PutError: the table can't be written.
    """
    if journal.append(event) == "CONFLICT":
        telemetry.count(
            "journal_conflict", promotion=event.promotion_id, version=event.version, type=event.type
        )
