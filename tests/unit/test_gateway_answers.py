"""What API Gateway answers by itself: in the form of our own refusals, and deployed."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from chalicelib.door.answers import EXPOSED, PROBLEMS
from infra import edge, gateway_answers, stage
from infra.choices import Choices, Limit
from infra.faults import DeployFault
from infra.gateway_answers import KINDS

LIMITS = Choices(crowd=Limit(7, 5), paying=Limit(3, 2))


@pytest.fixture
def gateway() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("apigateway")


@pytest.fixture
def api(gateway: Any) -> edge.Api:
    api_id = gateway.create_rest_api(name="seckill")["id"]
    root = gateway.get_resources(restApiId=api_id)["items"][0]["id"]
    method = {"restApiId": api_id, "resourceId": root, "httpMethod": "GET"}
    gateway.put_method(**method, authorizationType="NONE")
    gateway.put_integration(**method, type="MOCK")
    gateway.create_deployment(restApiId=api_id, stageName="api")
    return edge.Api(api_id, "api")


def headers(told: Any) -> dict[str, str]:
    prefix = "gatewayresponse.header."
    return {n.removeprefix(prefix): v for n, v in told["responseParameters"].items()}


def answers(gateway: Any, api: edge.Api) -> dict[str, Any]:
    found = gateway.get_gateway_responses(restApiId=api.id)["items"]
    return {told["responseType"]: told for told in found}


def test_every_kind_that_there_is_has_an_answer(gateway: Any) -> None:
    known = gateway.meta.service_model.shape_for("GatewayResponseType").enum
    assert set(KINDS) == set(known)
    assert not {code for _, code in KINDS.values()} - set(PROBLEMS)


def test_each_is_a_problem_with_a_code_of_ours(gateway: Any, api: edge.Api) -> None:
    edge.answer(gateway, api)
    for kind, told in answers(gateway, api).items():
        status, code = KINDS[kind]
        body = json.loads(told["responseTemplates"]["application/json"])
        assert body == {"type": "about:blank", "title": PROBLEMS[code][1], "status": status,
                        "code": code}  # fmt: skip
        had = headers(told)
        assert had["Content-Type"] == "'application/problem+json'"
        assert had["Cache-Control"] == "'no-store'"
        assert had["X-Request-Id"] == "context.requestId"
        assert ("Retry-After" in had) == (status in (429, 503, 504))
        assert ("WWW-Authenticate" in had) == (status == 401)
        assert "Access-Control-Allow-Origin" not in had
        # A default's status would be that of every kind that has none.
        assert told.get("statusCode") == (None if "DEFAULT" in kind else str(status))
    assert len(answers(gateway, api)) == len(KINDS)
    assert KINDS["THROTTLED"][0] == 429
    assert headers(answers(gateway, api)["THROTTLED"])["Retry-After"] == "'1'"


def test_a_browser_may_read_them_where_it_may_read_ours() -> None:
    had = headers(gateway_answers.answer("UNAUTHORIZED", "https://shop.example"))
    assert had["Access-Control-Allow-Origin"] == "'https://shop.example'"
    assert had["Access-Control-Expose-Headers"] == f"'{','.join(EXPOSED)}'"


def test_whose_pages_may_is_said_by_the_stage() -> None:
    stages: dict[str, Any] = {
        "dev": {"environment_variables": {}},
        "prod": {"environment_variables": {"CORS_ORIGIN": "b"}},
    }
    config = {"environment_variables": {"CORS_ORIGIN": "a"}, "stages": stages}
    assert [stage.variable(config, name, "CORS_ORIGIN") for name in ("dev", "prod")] == ["a", "b"]
    assert stage.variable(config, "dev", "OTHER") == ""


def test_they_are_deployed_and_nothing_else_of_the_stage_is_touched(
    gateway: Any, api: edge.Api
) -> None:
    edge.limit(gateway, api, LIMITS)
    before = gateway.get_stage(restApiId=api.id, stageName="api")
    for _ in range(2):
        edge.answer(gateway, api, "https://shop.example")
    after = gateway.get_stage(restApiId=api.id, stageName="api")
    newest = gateway.get_deployments(restApiId=api.id)["items"][-1]["id"]
    assert after["deploymentId"] == newest != before["deploymentId"]
    assert after["methodSettings"] == before["methodSettings"]


def test_a_second_deployment_within_seconds_is_waited_for_but_not_for_ever(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "_POLL_S", 0.01)
    api = edge.Api("a1", "api")
    with Stubber(gateway) as told:
        for patience_s, again in ((120, True), (-1, False)):
            for _ in KINDS:
                told.add_response("put_gateway_response", {})
            told.add_client_error("create_deployment", "TooManyRequestsException", "slowly")
            if again:
                told.add_response("create_deployment", {"id": "d1"})
                told.add_response("update_stage", {}, {
                    "restApiId": "a1", "stageName": "api", "patchOperations": [
                        {"op": "replace", "path": "/deploymentId", "value": "d1"}],
                })  # fmt: skip
                edge.answer(gateway, api, patience_s=patience_s)
            else:
                with pytest.raises(DeployFault, match="slowly"):
                    edge.answer(gateway, api, patience_s=patience_s)
            told.assert_no_pending_responses()
