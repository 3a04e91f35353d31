"""What an edge may keep, what a browser may do: the headers of every route."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chalice.config import Config
from chalice.local import LocalGateway

import app as entry_points
from chalicelib import config
from chalicelib.door.operations import OPERATIONS
from localstack import http_server
from tests.unit.conftest import Http
from tests.unit.test_identity import IN_PATHS

Ask = Callable[..., Http]
KEPT = {
    "GET /query/promotions": "public, max-age=1",
    "GET /openapi.json": "public, max-age=3600",
    "GET /docs": "public, max-age=3600",
}


def call(name: str, body: bytes = b"{}") -> dict[str, Any]:
    method, path = name.split(" ")
    headers = {"content-type": "application/json"}
    gateway = LocalGateway(entry_points.app, Config())
    answer: dict[str, Any] = gateway.handle_request(
        method, path.format(**IN_PATHS), headers, b"" if method == "GET" else body
    )
    return answer


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_only_what_does_not_change_may_be_kept(name: str) -> None:
    """A stale list for a second is agreed; a stale coupon, count or refusal is a lie."""
    headers = call(name)["headers"]
    assert headers["Cache-Control"] == KEPT.get(name, "no-store")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Request-Id"]


@pytest.mark.usefixtures("aws")
def test_no_page_of_another_origin_may_call_unless_the_stage_says_so() -> None:
    answer = call("GET /query/promotions")
    assert not any(name.startswith("Access-Control") for name in answer["headers"])


@pytest.fixture
def shop_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The entry points as a stage with a page has them; and as they were, afterwards."""
    monkeypatch.setenv("CORS_ORIGIN", "https://shop.example")
    config.settings.cache_clear()
    importlib.reload(entry_points)
    yield
    monkeypatch.undo()
    config.settings.cache_clear()
    importlib.reload(entry_points)


@pytest.mark.usefixtures("aws", "shop_page")
def test_the_shops_own_page_may_call_and_read_what_it_needs() -> None:
    headers = call("GET /query/promotions")["headers"]
    assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
    exposed = headers["Access-Control-Expose-Headers"]
    assert {"Link", "Retry-After", "X-Request-Id"} <= set(exposed.split(","))
    preflight = call("OPTIONS /command/coupons")["headers"]
    assert "Idempotency-Key" in preflight["Access-Control-Allow-Headers"]
    assert "POST" in preflight["Access-Control-Allow-Methods"]
    refused = call("POST /command/coupons")
    assert refused["statusCode"] == 400
    assert refused["headers"]["Access-Control-Allow-Origin"] == "https://shop.example"


@pytest.mark.parametrize("token", ["Bearer a", "Bearer \xfc\xdf", "\U0001f600"])
def test_an_unknown_path_is_not_found_whatever_comes_along(token: str) -> None:
    told: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/nothing/here",
        "HTTP_AUTHORIZATION": token,
        "wsgi.input": _Empty(),
    }
    list(http_server.application(environ, lambda status, _: told.append(status)))
    assert told == ["404 Not Found"]


class _Empty:
    """A request without a body."""

    def read(self, _: int) -> bytes:
        return b""
