"""The HTTP server that is measured: the app's own, with two more routes to measure against."""

from chalice.app import Response

from app import app
from chalicelib import clients

_JSON: dict[str, str | list[str]] = {"Content-Type": "application/json"}


@app.route("/bench/empty", methods=["POST"])
def empty() -> Response:
    """Answer at once: what the server, the gateway and Chalice cost without us."""
    return Response("{}", headers=_JSON)


@app.route("/bench/decr", methods=["POST"])
def decr() -> Response:
    """Count down in the store: the least that any answer about a stock can cost."""
    clients.store().decr("bench:decr")
    return Response("{}", headers=_JSON)


# The gateway takes the app's routes as they are when it is imported, so this comes last.
from localstack.http_server import application  # noqa: E402

__all__ = ["application"]
