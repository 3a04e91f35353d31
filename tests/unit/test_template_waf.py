"""The web ACL before the API: which requests count, and what is told to who sends too many."""

import json
from itertools import product
from typing import Any
from urllib.parse import unquote

import pytest

import app as entry_points
from chalicelib.door.answers import PROBLEMS
from infra import stage
from infra.choices import PAYING
from tests.unit.template import of_type, present

COMMAND = "/command/coupons"


@pytest.fixture(scope="module")
def acl() -> dict[str, Any]:
    [found] = of_type(present("Resources", Cloud="true"), "AWS::WAFv2::WebACL").values()
    return dict(found)


def is_counted(statement: dict[str, Any], method: str, path: str) -> bool:
    """Whether a request is in the scope of a statement, as WAF reads it."""
    [(kind, told)] = statement.items()
    if kind == "NotStatement":
        return not is_counted(told["Statement"], method, path)
    if kind in ("AndStatement", "OrStatement"):
        found = [is_counted(one, method, path) for one in told["Statements"]]
        return all(found) if kind == "AndStatement" else any(found)
    assert kind == "ByteMatchStatement"
    text: str = {"UriPath": path, "Method": method}[next(iter(told["FieldToMatch"]))]
    if [one["Type"] for one in told["TextTransformations"]] == ["URL_DECODE"]:
        text = unquote(text)
    wanted = str(told["SearchString"])
    return {
        "CONTAINS": wanted in text,
        "ENDS_WITH": text.endswith(wanted),
        "EXACTLY": text == wanted,
    }[told["PositionalConstraint"]]


@pytest.fixture(scope="module")
def scope(acl: dict[str, Any]) -> dict[str, Any]:
    [rule] = acl["Rules"]
    rate = rule["Statement"]["RateBasedStatement"]
    assert (rate["AggregateKeyType"], rate["Limit"]) == ("IP", "Ref CommandsPerAddress")
    return dict(rate["ScopeDownStatement"])


def test_commands_count_but_for_those_who_pay_or_give_back(scope: dict[str, Any]) -> None:
    prefixes = (f"/{stage.read()['api_gateway_stage']}", "", "/of/the/shop")
    routes = [(method, path) for path, by in entry_points.app.routes.items() for method in by]
    for prefix, (method, path) in product(prefixes, routes):
        crowd = path.startswith("/command/") and (method, path) not in PAYING
        assert is_counted(scope, method, prefix + path) == crowd, (method, path)
    assert set(PAYING) < set(routes)
    assert is_counted(scope, "POST", f"/api{COMMAND}")


def test_no_spelling_of_a_commands_path_escapes(scope: dict[str, Any]) -> None:
    for path in ("/api/%63ommand/coupons", "/api/command%2Fcoupons", "/api/command/coupons/"):
        assert is_counted(scope, "POST", path), path


def test_an_address_that_sends_too_many_is_told_as_by_the_api_and_when_to_come_back(
    acl: dict[str, Any],
) -> None:
    [rule] = acl["Rules"]
    window_s = rule["Statement"]["RateBasedStatement"]["EvaluationWindowSec"]
    block = rule["Action"]["Block"]["CustomResponse"]
    headers = {header["Name"]: header["Value"] for header in block["ResponseHeaders"]}
    assert headers == {"Retry-After": str(window_s)}
    body = json.loads(acl["CustomResponseBodies"][block["CustomResponseBodyKey"]]["Content"])
    status, title = PROBLEMS["THROTTLED"]
    assert block["ResponseCode"] == status
    assert body == {"type": "about:blank", "title": title, "status": status, "code": "THROTTLED"}


def test_it_is_before_one_region_and_lets_in_who_it_does_not_count(acl: dict[str, Any]) -> None:
    assert (acl["Scope"], acl["DefaultAction"]) == ("REGIONAL", {"Allow": {}})


def test_no_sample_of_a_request_is_kept_for_it_would_have_its_token(acl: dict[str, Any]) -> None:
    [rule] = acl["Rules"]
    shown = [part["VisibilityConfig"]["SampledRequestsEnabled"] for part in (acl, rule)]
    assert shown == [False, False]
