"""The Chalice app as a WSGI application, for a real HTTP server with several workers.

Each request becomes the Lambda event that API Gateway would send, through Chalice's own
LocalGateway. The source address in it is the socket's: behind a proxy, that is the proxy's.
"""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chalice.cli.factory import CLIFactory
from chalice.local import ForbiddenError, LocalChalice, LocalGateway, LocalGatewayException

from app import app
from chalicelib.door import answers, validation

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class _ThreadSafeApp(LocalChalice, type(app)):  # type: ignore[misc]
    """Keeps the current request per thread, as `chalice local` does."""


_source_ip: ContextVar[str] = ContextVar("source_ip")


class _Gateway(LocalGateway):
    """Fills in where a request came from; Chalice's own says 127.0.0.1 of all."""

    def _generate_lambda_event(self, *args: Any, **kwargs: Any) -> Any:
        event = super()._generate_lambda_event(*args, **kwargs)
        event["requestContext"]["identity"]["sourceIp"] = _source_ip.get()
        return event


app.__class__ = _ThreadSafeApp
_project = str(Path(__file__).parent.parent)
_gateway = _Gateway(app, CLIFactory(_project, environ={}).create_config_obj("local"))
_REASONS = {status.value: status.phrase for status in HTTPStatus}


def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """WSGI: one request through the gateway."""
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    path = quote(environ["PATH_INFO"].encode("latin-1"), safe="/~:@!$&'()*+,=") or "/"
    if len(path) > 1:
        path = path.rstrip("/") or "/"  # clients of the old system send one
    if environ.get("QUERY_STRING"):
        path += "?" + environ["QUERY_STRING"]
    # One byte over the limit is enough to have the body refused for its size.
    body = environ["wsgi.input"].read(validation.MAX_BODY_BYTES + 1)
    _source_ip.set(environ["REMOTE_ADDR"])
    status, out, payload = _handle(environ["REQUEST_METHOD"], path, headers, body)
    start_response(f"{status} {_REASONS.get(status, '')}", out)
    return [payload]


def _handle(
    method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    try:
        response = _gateway.handle_request(method, path, headers, body)
    except (ForbiddenError, UnicodeEncodeError):
        # What API Gateway says of a path it does not know; locally, the plain word for it. The
        # gateway quotes a token that comes along, and trips over one that is not ASCII.
        unknown = answers.problem("NOT_FOUND")
        more = answers.on_every_answer(answers.request_id(headers, {}))
        return unknown.status, list({**unknown.headers, **more}.items()), unknown.body.encode()
    except LocalGatewayException as error:
        return error.CODE, list(error.headers.items()), error.body or b""
    out = list((response.get("headers") or {}).items())
    for name, values in (response.get("multiValueHeaders") or {}).items():
        out.extend((name, value) for value in values)
    return response["statusCode"], out, (response["body"] or "").encode()
