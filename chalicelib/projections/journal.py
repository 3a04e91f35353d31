"""The journal: every event, put if absent. The system of record."""

import json

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import PutError
from pynamodb.models import Model

from chalicelib.events import AnyEvent
from chalicelib.tables import TableMeta, TableName, refused_by_condition


class JournalConflict(Exception):
    """Another event is in the journal under the same promotion and version."""


class EventRow(Model):
    """One event. `at` in epoch ms; `event` is its JSON."""

    class Meta(TableMeta):
        """Where the table is."""

        table_name = TableName("events")

    promotion_id = UnicodeAttribute(hash_key=True, attr_name="promotionId")
    version = NumberAttribute(range_key=True)
    type = UnicodeAttribute()
    at = NumberAttribute()
    event = UnicodeAttribute()


def on_event(event: AnyEvent) -> None:
    """Store `event` unless it is there already.

    Raises:
        JournalConflict: a different event has this version; nothing was overwritten, and the
            message stays in its queue, on its way to the DLQ.
        pynamodb.exceptions.PutError: the table can't be written.
    """
    row = EventRow(
        event.promotion_id,
        event.version,
        type=event.type,
        at=event.at,
        event=event.to_wire(),
    )
    try:
        row.save(condition=EventRow.promotion_id.does_not_exist())
    except PutError as error:
        if not refused_by_condition(error):
            raise
        stored = EventRow.get(event.promotion_id, event.version, consistent_read=True)
        if json.loads(stored.event) != event.to_dict():
            message = f"{event.promotion_id} version {event.version}: {event.type} != {stored.type}"
            raise JournalConflict(message) from None
