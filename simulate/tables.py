"""DynamoDB in this process: moto's tables, without the HTTP in between.

Most of the time of a call to moto goes into requests, signatures and XML. Histories make hundreds
of thousands of calls, so they go directly to the functions of moto that do the work.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore import xform_name
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.responses import DynamoHandler
from werkzeug.exceptions import HTTPException

REGION = "us-east-1"
ACCOUNT = "123456789012"
# Runs a call, given what it is called and its table.
Around = Callable[[str, str, Callable[[], Any]], Any]


@contextmanager
def directly(around: Around) -> Iterator[None]:
    """Have every client of DynamoDB call moto's functions; each call goes through `around`."""
    client_class: Any = BaseClient
    usual = client_class._make_api_call  # noqa: SLF001 - the one place that all calls pass

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if client.meta.service_model.service_name != "dynamodb":
            return usual(client, operation, parameters)
        table = str(parameters.get("TableName", "")).split("-", 2)[-1]
        return around(operation, table, lambda: _do(operation, parameters))

    client_class._make_api_call = call  # noqa: SLF001
    try:
        yield
    finally:
        client_class._make_api_call = usual  # noqa: SLF001


def plainly(_operation: str, _table: str, do: Callable[[], Any]) -> Any:
    """Make a call to a table, and nothing else."""
    return do()


def unavailable() -> Exception:
    """What a client raises when the service can't be reached."""
    return EndpointConnectionError(endpoint_url="https://dynamodb")


def _do(operation: str, parameters: dict[str, Any]) -> Any:
    handler = DynamoHandler()
    handler.region, handler.current_account = REGION, ACCOUNT
    handler.body = parameters
    try:
        return getattr(handler, xform_name(operation))().result
    except HTTPException as error:
        problem = json.loads(error.description or "{}")
        code = str(problem.get("__type", "")).rsplit("#", 1)[-1]
        answer: Any = {"Error": {"Code": code, "Message": str(problem.get("message", ""))}}
        raise ClientError(answer, operation) from error


def clear() -> None:
    """Remove all rows of all tables."""
    for table in dynamodb_backends[ACCOUNT][REGION].tables.values():
        table.items.clear()


def rows(name: str) -> list[dict[str, Any]]:
    """All rows of a table as plain values; outages do not concern this."""
    found = _do("Scan", {"TableName": name})["Items"]
    read = TypeDeserializer().deserialize
    return [{key: read(value) for key, value in row.items()} for row in found]
