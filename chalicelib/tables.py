"""What every DynamoDB table model shares: its name from the settings, and short timeouts."""

from typing import Any

from pynamodb.attributes import Attribute
from pynamodb.exceptions import PutError, UpdateError
from pynamodb.expressions.condition import Condition

from chalicelib.config import settings
from chalicelib.events import AnyEvent


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


def not_newer_than(event: AnyEvent, version: Attribute[Any], *, again: bool) -> Condition:
    """Holds for a row that reflects only older events than this; with `again`, this one too."""
    reflects_older = version <= event.version if again else version < event.version
    condition: Condition = version.does_not_exist() | reflects_older
    return condition


def refused_by_condition(error: PutError | UpdateError) -> bool:
    """True when a write failed because its condition did not hold; other failures are outages."""
    return error.cause_response_code == "ConditionalCheckFailedException"
