"""What an edge may keep, what a browser may do: the headers of every route."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chalice.config import Config
from chalice.local import LocalGateway

import app as entry_points
from chalicelib.door.operations import OPERATIONS
from localstack import http_server
from tests.unit.conftest import Http, metrics
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


# The stage's setting is read when the entry points are made, so they are made anew.
_ASK = """
import json, sys
from chalice.config import Config
from chalice.local import LocalGateway
from app import app
gateway = LocalGateway(app, Config())
asked = json.load(sys.stdin)
print(json.dumps([gateway.handle_request(*one, {}, b"{}") for one in asked]))
"""


def test_the_shops_own_page_may_call_and_read_what_it_needs() -> None:
    asked = [
        ["GET", "/openapi.json"],
        ["OPTIONS", "/command/coupons"],
        ["POST", "/command/coupons"],
    ]
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _ASK],
        env={**os.environ, "CORS_ORIGIN": "https://shop.example"},
        cwd=Path(entry_points.__file__).parent,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    served, preflight, refused = json.loads(done.stdout)
    for answer in (served, preflight, refused):
        assert answer["headers"]["Access-Control-Allow-Origin"] == "https://shop.example"
    exposed = set(served["headers"]["Access-Control-Expose-Headers"].split(","))
    assert exposed >= {"Link", "RateLimit", "Retry-After", "X-Request-Id"}
    allowed = set(preflight["headers"]["Access-Control-Allow-Headers"].split(","))
    assert allowed >= {"Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"}
    assert "POST" in preflight["headers"]["Access-Control-Allow-Methods"]
    assert (served["statusCode"], refused["statusCode"]) == (200, 400)


@pytest.mark.parametrize("token", ["Bearer a", "Bearer \xfc\xdf", "\U0001f600"])
def test_an_unknown_path_is_not_found_whatever_comes_along(token: str) -> None:
    told: list[Any] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/nothing/here",
        "HTTP_AUTHORIZATION": token,
        "HTTP_X_REQUEST_ID": "mine-3",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": _Empty(),
    }
    list(http_server.application(environ, lambda *answer: told.extend(answer)))
    assert told[0] == "404 Not Found"
    headers = dict(told[1])
    assert (headers["X-Request-Id"], headers["X-Content-Type-Options"]) == ("mine-3", "nosniff")


class _Empty:
    """A request without a body."""

    def read(self, _: int) -> bytes:
        return b""


@pytest.mark.usefixtures("aws")
def test_a_grabs_line_in_the_log_has_the_request_and_no_customer_by_name(
    http: Ask, offer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    offer |= {"publishTime": 0}
    sale = http("POST", "/admin/promotions", offer).body["promotionId"]
    wish = {"promotionId": sale, "customerId": "alice@example.com"}
    began_s = time.perf_counter()
    assert http("POST", "/command/coupons", wish, x_request_id="mine-7").status == 201
    whole_ms = (time.perf_counter() - began_s) * 1000
    told = capsys.readouterr().out
    [line] = metrics(told, "grabs")
    assert 0 < line["grab_ms"][0] <= whole_ms
    assert line["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [
        {"Name": "grabs", "Unit": "Count"}, {"Name": "grab_ms", "Unit": "Milliseconds"},
    ]  # fmt: skip
    assert (line["request"], line["promotion"], line["outcome"]) == ("mine-7", sale, "GRANTED")
    assert (line["version"], len(line["customer"])) == (2, 12)
    assert "alice@example.com" not in told
