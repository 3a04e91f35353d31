"""The journal's tables: every event, and events that came under a version already taken.

The journal is the system of record. The projection in `projections/journal.py` writes it; the
store is recovered, and read models are rebuilt, from what is read here.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import PutError
from pynamodb.models import Model

from chalicelib import events, telemetry
from chalicelib.events import GENERATION, AnyEvent, InvalidEvent, PromotionRecovered
from chalicelib.tables import TableMeta, TableName, refused_by_condition

# As many as the client has connections for; a partition takes 1,000 writes a second.
_WRITES_AT_ONCE = 8
_PIECE = 100
# Rows of a page that is filtered, and beyond how many gaps all of them are read at once.
_PAGE = 1000
_MOST_GAPS = 50
# The event's text has all the rest, and what is not fetched need not be parsed.
_READ = ["promotionId", "event"]


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


class ConflictRow(Model):
    """An event whose version the journal had already; `conflict` is "<version>-<hash>"."""

    class Meta(TableMeta):
        """Where the table is."""

        table_name = TableName("conflicts")

    promotion_id = UnicodeAttribute(hash_key=True, attr_name="promotionId")
    conflict = UnicodeAttribute(range_key=True)
    event = UnicodeAttribute()
    settled = UnicodeAttribute(null=True)


def append(event: AnyEvent) -> str:
    """Put `event`, as it was published, unless there is one of its promotion and version.

    Returns APPENDED, REPEATED (the same event was there) or CONFLICT (another one was: nothing
    is overwritten, and this one is kept beside it).

    Raises:
        pynamodb.exceptions.PutError: the table can't be written.
    """
    outcome = _put(event)
    if outcome != "TAKEN":
        return outcome
    wire = event.to_wire()
    digest = hashlib.sha256(wire.encode()).hexdigest()[:16]
    conflict = ConflictRow(event.promotion_id, f"{event.version}-{digest}", event=wire)
    try:
        conflict.save(condition=ConflictRow.promotion_id.does_not_exist())
    except PutError as error:
        if not refused_by_condition(error):
            raise
    return "CONFLICT"


def put(event: AnyEvent) -> bool:
    """Put an event of a recovery; False if another recovery has its version already.

    Raises:
        pynamodb.exceptions.PutError: the table can't be written.
    """
    return _put(event) != "TAKEN"


def put_all(decided: Sequence[AnyEvent]) -> bool:
    """Put the events of a recovery; False if another recovery has one of their versions already.

    The first is put alone, because it decides which of two recoveries goes on. So is the last,
    because it promises that all others are there. An interrupted recovery finds what it has put.

    Raises:
        pynamodb.exceptions.PutError: the table can't be written.
    """
    first, between, last = decided[:1], decided[1:-1], decided[1:][-1:]
    if not all(map(put, first)):
        return False
    with ThreadPoolExecutor(_WRITES_AT_ONCE) as threads:
        for start in range(0, len(between), _PIECE):
            if not all(threads.map(put, between[start : start + _PIECE])):
                return False
    return all(map(put, last))


def _put(event: AnyEvent) -> str:
    wire = event.to_wire()
    row = EventRow(event.promotion_id, event.version, type=event.type, at=event.at, event=wire)
    try:
        row.save(condition=EventRow.promotion_id.does_not_exist())
    except PutError as error:
        if not refused_by_condition(error):
            raise
    else:
        return "APPENDED"
    stored = EventRow.get(event.promotion_id, event.version, consistent_read=True)
    same = any(found.to_dict() == event.to_dict() for found in parsed([stored]))
    return "REPEATED" if same else "TAKEN"


def read(promotion_id: str, after: int = 0) -> Iterator[AnyEvent]:
    """A promotion's events behind version `after`, in order of version; every page of them.

    A row that can't be read counts as one that is missing.

    Raises:
        pynamodb.exceptions.QueryError: the table can't be read.
    """
    rows = EventRow.query(
        promotion_id,
        EventRow.version > after,
        consistent_read=True,
        attributes_to_get=_READ,
    )
    return parsed(rows)


def read_late(promotion_id: str) -> list[AnyEvent]:
    """The newest recovery of a promotion, behind the events that it has not read; else nothing.

    These are few, and only they are fetched: a promotion that is asked about for each late event
    must not pay for its whole journal each time.

    Raises:
        pynamodb.exceptions.QueryError: the table can't be read.
    """
    recoveries = EventRow.query(
        promotion_id,
        EventRow.version >= GENERATION,
        EventRow.type == PromotionRecovered.__name__,
        scan_index_forward=False,
        consistent_read=True,
        page_size=_PAGE,
        attributes_to_get=_READ,
    )
    newest = next(parsed(recoveries), None)
    if not isinstance(newest, PromotionRecovered) or newest.known is None:
        return []
    gaps = list(_gaps(newest.known, newest.version))
    if len(gaps) > _MOST_GAPS:
        gaps = [(0, newest.version - 1)]
    late = [event for gap in gaps for event in _read_between(promotion_id, *gap)]
    return [*late, newest]


def _gaps(known: str, before: int) -> Iterator[tuple[int, int]]:
    """First and last of the versions below `before` that are not in the ranges "1-7,9"."""
    first = 0
    for text in known.split(","):
        begin, _, end = text.partition("-")
        if first < int(begin):
            yield first, int(begin) - 1
        first = int(end or begin) + 1
    if first < before:
        yield first, before - 1


def _read_between(promotion_id: str, first: int, last: int) -> Iterator[AnyEvent]:
    rows = EventRow.query(
        promotion_id,
        EventRow.version.between(first, last),
        consistent_read=True,
        attributes_to_get=_READ,
    )
    return parsed(rows)


def parsed(rows: Iterable["EventRow | ConflictRow"]) -> Iterator[AnyEvent]:
    """The events in rows of a journal's table; one that can't be read is counted and left out."""
    for row in rows:
        try:
            yield events.parse(row.event)
        except InvalidEvent as error:
            telemetry.count("row_unreadable", promotion=row.promotion_id, reason=str(error))


def newest_version(promotion_id: str) -> int:
    """The version of a promotion's newest event in the journal; 0 without any.

    Raises:
        pynamodb.exceptions.QueryError: the table can't be read.
    """
    rows = EventRow.query(promotion_id, scan_index_forward=False, limit=1, consistent_read=True)
    return next((int(row.version) for row in rows), 0)


def conflicts(promotion_id: str) -> list[ConflictRow]:
    """A promotion's conflicts that no recovery has settled yet.

    Raises:
        pynamodb.exceptions.QueryError: the table can't be read.
    """
    rows = ConflictRow.query(promotion_id, consistent_read=True)
    return [row for row in rows if row.settled is None]


def settle(rows: list[ConflictRow]) -> None:
    """Note that a recovery has dealt with these conflicts.

    Raises:
        pynamodb.exceptions.UpdateError: the table can't be written.
    """
    for row in rows:
        row.update(actions=[ConflictRow.settled.set("RECOVERED")])
