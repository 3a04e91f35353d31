"""What every DynamoDB table model shares: its name, short timeouts, and rows that can't be read.

A row that is not as its model says affects nobody but itself: lists count it and leave it out.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import wraps
from typing import Any, Self, TypeVar

from pynamodb.attributes import Attribute
from pynamodb.exceptions import PutError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.models import Model

from chalicelib import telemetry
from chalicelib.config import settings
from chalicelib.events import AnyEvent

R = TypeVar("R", bound="Row")
S = TypeVar("S")
T = TypeVar("T")
# An attribute of another type, one that is missing (None), and a text that is no number.
_NOT_AS_MODELLED = (TypeError, ValueError, ArithmeticError)


class TableName:
    """A table's name, worked out when it is first needed: models are imported when packaging."""

    def __init__(self, name: str) -> None:
        """`name` is the table's name within a stage."""
        self._name = name

    def __get__(self, instance: object, owner: type) -> str:
        """The full name, as the template gives it."""
        return settings().resource_name(self._name)


class TableMeta:
    """Base of every model's Meta. PynamoDB's own time limits are 15 s and 30 s."""

    connect_timeout_seconds = 1.0
    read_timeout_seconds = 2.0
    max_retry_attempts = 2


class UnreadableRow(ValueError):
    """A row is not as its model says: an attribute is missing, or of another type."""

    def __init__(self, table: str, key: str, reason: str) -> None:
        """`key` names the row in logs."""
        super().__init__(f"{table} {key}: {reason}")
        self.table, self.key, self.reason = table, key, reason

    def count(self) -> None:
        """Count the row and log which one it is."""
        telemetry.count("row_unreadable", table=self.table, key=self.key, reason=self.reason)


class Row(Model):
    """Base of the models whose rows may be listed."""

    @classmethod
    def from_raw_data(cls, data: dict[str, Any]) -> Self:
        """The row that DynamoDB has returned.

        Raises:
            UnreadableRow: an attribute has another type than the model says.
        """
        try:
            return super().from_raw_data(data)
        except _NOT_AS_MODELLED as error:
            values = {name: next(iter(value.values())) for name, value in data.items()}
            raise _unreadable(cls, values, error) from error

    def deserialize(self, attribute_values: dict[str, dict[str, Any]]) -> None:
        """Take over what an update has left in the row, as far as it can be read.

        The update is done by then: an unreadable attribute that it did not write is not its fault.
        """
        with suppress(*_NOT_AS_MODELLED):
            super().deserialize(attribute_values)


def reads_row(read: Callable[..., T]) -> Callable[..., T]:
    """Make a method of a row raise UnreadableRow where the row is not as its model says."""

    @wraps(read)
    def checked(row: Row, *args: Any) -> T:
        attributes = row.get_attributes()
        values = {a.attr_name: getattr(row, name) for name, a in attributes.items()}
        try:
            for a in attributes.values():
                if not a.null and values[a.attr_name] is None:
                    raise ValueError(a.attr_name)
            return read(row, *args)
        except _NOT_AS_MODELLED as error:
            raise _unreadable(type(row), values, error) from error

    return checked


def readable(rows: Iterable[S], read: Callable[[S], T]) -> Iterator[T]:
    """What `read` makes of each of `rows`; one that can't be read is counted and left out.

    `rows` is what PynamoDB's query or scan returns: it goes on behind a row that fails.
    """
    left = iter(rows)
    while True:
        try:
            found = read(next(left))
        except StopIteration:
            return
        except UnreadableRow as error:
            error.count()
            continue
        yield found


def rows_by_key(model: type[R], keys: Iterable[str]) -> list[R]:
    """The rows of these hash keys that are there and can be read.

    Raises:
        pynamodb.exceptions.GetError: the table can't be read.
    """
    wanted = sorted(keys)
    try:
        return list(model.batch_get(wanted, consistent_read=True))
    except UnreadableRow:
        return [row for key in wanted for row in _row_by_key(model, key)]


def _row_by_key(model: type[R], key: str) -> Iterator[R]:
    try:
        yield model.get(key, consistent_read=True)
    except model.DoesNotExist:
        return
    except UnreadableRow as error:
        error.count()


def _unreadable(model: type[Row], values: dict[str, Any], error: Exception) -> UnreadableRow:
    attributes = model.get_attributes().values()
    hash_key = [a.attr_name for a in attributes if a.is_hash_key]
    range_key = [a.attr_name for a in attributes if a.is_range_key]
    named = {name: str(values.get(name)) for name in (*hash_key, *range_key)}
    if "customerId" in named:
        named["customerId"] = telemetry.pseudonym(named["customerId"])
    key = " ".join(f"{name}={value}" for name, value in named.items())
    return UnreadableRow(model.Meta.table_name, key, f"{type(error).__name__}: {error}")


def not_newer_than(event: AnyEvent, version: Attribute[Any], *, again: bool) -> Condition:
    """Holds for a row that reflects only older events than this; with `again`, this one too.

    A version that is not there or not a number comes from no event, so every event is newer.
    """
    reflects_older = version <= event.version if again else version < event.version
    is_number: Condition = version.is_type()  # type: ignore[no-untyped-call]
    condition: Condition = ~is_number | reflects_older
    return condition


def refused_by_condition(error: PutError | UpdateError) -> bool:
    """True when a write failed because its condition did not hold; other failures are outages."""
    # The response of a call that timed out is None, where PynamoDB's cause_response_code fails.
    response = getattr(error.cause, "response", None) or {}
    return bool(response.get("Error", {}).get("Code") == "ConditionalCheckFailedException")
