"""Which exception is told how: an outage is never told as an outcome of the sale."""

from collections.abc import Callable

import redis
from pynamodb.exceptions import PynamoDBException

from chalicelib import telemetry
from chalicelib.clients import AWS_ERRORS
from chalicelib.commands.decision import NotOnRecord
from chalicelib.commands.offer import NoAdmissionKeys, UnknownItem
from chalicelib.door import answers
from chalicelib.door.answers import Answer
from chalicelib.door.identity import Forbidden, Unauthorized
from chalicelib.door.validation import InvalidInput
from chalicelib.tables import UnreadableRow

# What a store says that is there but can't serve just now, mostly during a fail-over.
_STORE_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.RedisClusterException,
)
# The same, told by the first word of an answer that redis-py has no exception for.
_AWAY_WORDS = ("NOREPLICAS", "MISCONF", "LOADING", "CLUSTERDOWN")


def honestly(view: Callable[[], Answer]) -> Answer:
    """The view's answer, or a problem that says what could not be understood or reached."""
    try:
        return view()
    except InvalidInput as error:
        return answers.problem("INVALID", errors=error.faults)
    except Unauthorized as error:
        return answers.problem("UNAUTHORIZED", detail=str(error))
    except Forbidden as error:
        return answers.problem("FORBIDDEN", errors=error.faults)
    except UnknownItem:
        return answers.problem("INVALID", errors={"itemId": "there is no such item"})
    except NoAdmissionKeys:
        return answers.problem("INVALID", errors={"admission": "this stage has no ADMISSION_KEYS"})
    except _STORE_AWAY as error:
        return _outage("STORE_UNAVAILABLE", error)
    except redis.RedisError as error:
        away = str(error).startswith(_AWAY_WORDS)
        return _outage("STORE_UNAVAILABLE" if away else "STORE_ERROR", error)
    except (NotOnRecord, *AWS_ERRORS) as error:
        return _outage("QUEUE_UNAVAILABLE", error)
    except (UnreadableRow, PynamoDBException) as error:
        return _of_table(error)


def _of_table(error: UnreadableRow | PynamoDBException) -> Answer:
    if isinstance(error, UnreadableRow):
        error.count()
        return answers.problem("ROW_UNREADABLE")
    return _outage("TABLE_UNAVAILABLE", error)


def _outage(code: str, error: Exception) -> Answer:
    telemetry.count(code.lower(), reason=str(error))
    return answers.problem(code)
