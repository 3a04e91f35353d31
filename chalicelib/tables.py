"""What every DynamoDB table model shares: its name from the settings, and short timeouts."""

from pynamodb.exceptions import PutError, UpdateError

from chalicelib.config import settings


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


def refused_by_condition(error: PutError | UpdateError) -> bool:
    """True when a write failed because its condition did not hold; other failures are outages."""
    return error.cause_response_code == "ConditionalCheckFailedException"
