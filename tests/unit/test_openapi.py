"""The OpenAPI document, the routes, and the answers: they never drift."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from chalice.config import Config
from chalice.local import LocalGateway

import app as entry_points
from chalicelib import config
from chalicelib.door import openapi
from chalicelib.door.answers import PROBLEMS
from chalicelib.door.checks import Fault
from chalicelib.door.models import OFFER
from chalicelib.door.operations import OPERATIONS
from tests.unit.conftest import Http
from tests.unit.test_identity import IN_PATHS

Ask = Callable[..., Http]
StageWith = Callable[[str], None]


@pytest.fixture
def stage_with(monkeypatch: pytest.MonkeyPatch) -> StageWith:
    def set_to(auth: str) -> None:
        monkeypatch.setenv("AUTH", auth)
        monkeypatch.setenv("JWT_KEY", "a key of a test that is long enough for HMAC")
        config.settings.cache_clear()

    return set_to


def test_every_route_is_in_the_document_and_every_operation_is_a_route() -> None:
    routes = {
        f"{method} {path}"
        for path, methods in entry_points.app.routes.items()
        for method in methods
    }
    told = {
        f"{method.upper()} {path}"
        for path, methods in openapi.document()["paths"].items()
        for method in methods
    }
    assert routes == told == set(OPERATIONS)


def test_a_route_that_is_not_described_can_not_be_registered() -> None:
    with pytest.raises(KeyError):
        entry_points.route("/secret", "POST")


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    text = json.dumps(openapi.document())
    used = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert used == set(openapi.document()["components"]["schemas"])


def test_every_code_of_a_problem_can_be_met_somewhere() -> None:
    met = {code for operation in OPERATIONS.values() for code in operation.refusals}
    of_the_framework = {"METHOD_NOT_ALLOWED", "INTERNAL_ERROR"}
    assert set(PROBLEMS) - met == of_the_framework


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_only_who_sends_a_body_has_to_name_its_type(name: str) -> None:
    method, path = name.split(" ")
    headers = {"content-type": "text/plain"}
    gateway = LocalGateway(entry_points.app, Config())
    answer = gateway.handle_request(method, path.format(**IN_PATHS), headers, b"")
    assert (answer["statusCode"] == 415) == (OPERATIONS[name].body is not None)


@pytest.mark.parametrize("auth", ["open", "jwt"])
def test_the_document_is_that_of_its_stage(http: Ask, stage_with: StageWith, auth: str) -> None:
    stage_with(auth)
    told = http("GET", "/openapi.json").body
    guarded = {
        f"{method.upper()} {path}"
        for path, methods in told["paths"].items()
        for method, operation in methods.items()
        if operation.get("security") == [{"token": []}]
    }
    asks = {name for name, operation in OPERATIONS.items() if operation.who != "anyone"}
    assert guarded == (set() if auth == "open" else asks)
    grab = told["components"]["schemas"]["GrabCoupon"]
    assert ("customerId" in grab["required"]) == (auth == "open")


def test_a_models_schema_and_its_checks_agree_on_what_is_needed() -> None:
    needed = OFFER.schema()["required"]
    faults: dict[str, str] = {}
    OFFER.read({}, faults)
    assert sorted(faults) == sorted(needed)
    OFFER.read({"nonsense": 1}, faults)
    assert faults["nonsense"] == "is not a field of a promotion"
    assert OFFER.schema()["additionalProperties"] is False


def test_the_schema_has_null_for_what_may_be_left_out() -> None:
    nullable = {
        name
        for name, schema in OFFER.schema()["properties"].items()
        if {"type": "null"} in schema["anyOf"]
    }
    assert nullable == {field.name for field in OFFER.fields if not field.needed}


@pytest.mark.parametrize("field", OFFER.fields, ids=lambda field: field.name)
def test_a_default_is_a_value_that_the_check_takes(field: Any) -> None:
    if field.default is not None:
        assert field.check.take(field.default) == field.default
    with pytest.raises(Fault):
        field.check.take({"no": "value"})


def test_programs_get_json_and_may_keep_it_for_an_hour(http: Ask) -> None:
    answer = http("GET", "/openapi.json")
    assert answer.body["openapi"] == "3.1.0"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"


def test_people_get_a_page_that_loads_and_runs_nothing() -> None:
    gateway = LocalGateway(entry_points.app, Config())
    answer = gateway.handle_request("GET", "/docs", {}, b"")
    headers, page = answer["headers"], answer["body"]
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert (headers["X-Frame-Options"], headers["Referrer-Policy"]) == ("DENY", "no-referrer")
    assert "<script" not in page
    assert "http://" not in page
    for name in OPERATIONS:
        assert f"<code>{name.split(' ')[1]}</code>" in page


def test_a_request_id_is_echoed_or_made(http: Ask) -> None:
    assert http("GET", "/query/time", x_request_id="mine-1").headers["X-Request-Id"] == "mine-1"
    made = http("GET", "/query/time", x_request_id="two\nlines").headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9]+", made)
    assert http("GET", "/query/time").headers["X-Request-Id"] != made
    assert http("GET", "/query/time").headers["X-Content-Type-Options"] == "nosniff"
    refused = http("POST", "/command/coupons", {}, x_request_id="mine-2")
    assert (refused.status, refused.headers["X-Request-Id"]) == (400, "mine-2")
