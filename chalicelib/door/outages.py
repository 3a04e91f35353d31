"""Which exception is told how: an outage is never told as an outcome of the sale."""

from collections.abc import Callable

import redis
from pynamodb.exceptions import PynamoDBException

from chalicelib import telemetry
from chalicelib.clients import AWS_ERRORS, STORE_ERRORS
from chalicelib.commands.decision import NotOnRecord
from chalicelib.commands.offer import NoAdmissionKeys, UnknownItem
from chalicelib.door import answers
from chalicelib.door.answers import Answer
from chalicelib.door.identity import Forbidden, Unauthorized
from chalicelib.door.validation import InvalidInput
from chalicelib.tables import UnreadableRow

# A store that can't be reached, or that can't serve just now: asking again may help. Those that are
# a ConnectionError (loading, no more connections, a refused password) are not named again.
_STORE_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.InvalidResponse,  # what answers there speaks another protocol
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    # The user's rights, or how it has to log in, are being changed; nothing was run.
    redis.exceptions.NoPermissionError,
    redis.exceptions.AuthenticationWrongNumberOfArgsError,
    # A bare one has no fault of a command in it: the server refused EXEC itself.
    redis.exceptions.ExecAbortError,
    # Sent from node to node too often; as a class of it, the cluster or a primary is down.
    redis.exceptions.ClusterError,
    redis.exceptions.TryAgainError,
    redis.exceptions.AskError,  # and MovedError: in a transaction while slots move
    redis.exceptions.RedisClusterException,
)
# The same, told by the first word of an answer that redis-py has no exception for.
_AWAY_WORDS = ("BUSY", "NOREPLICAS", "MISCONF", "LOADING", "CLUSTERDOWN")
# Keys of several slots in one step: that is a fault of ours, and stays one when it is repeated.
_OUR_FAULTS = (redis.exceptions.CrossSlotTransactionError,)


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
    except STORE_ERRORS as error:
        return _outage("STORE_UNAVAILABLE" if _is_away(error) else "STORE_ERROR", error)
    except (NotOnRecord, *AWS_ERRORS) as error:
        return _outage("QUEUE_UNAVAILABLE", error)
    except (UnreadableRow, PynamoDBException) as error:
        return _of_table(error)


def _is_away(error: Exception) -> bool:
    """False for a broken script, and for whatever else asking again would not mend."""
    if isinstance(error, _STORE_AWAY):
        return not isinstance(error, _OUR_FAULTS)
    return str(error).partition(" ")[0] in _AWAY_WORDS


def _of_table(error: UnreadableRow | PynamoDBException) -> Answer:
    if isinstance(error, UnreadableRow):
        error.count()
        return answers.problem("ROW_UNREADABLE")
    return _outage("TABLE_UNAVAILABLE", error)


def _outage(code: str, error: Exception) -> Answer:
    telemetry.count(code.lower(), reason=str(error))
    return answers.problem(code)
