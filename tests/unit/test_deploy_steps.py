"""A whole deployment against moto: in which order its steps come, and what a failed one leaves.

CloudFormation, Chalice and the account's quota are stood in for: moto does not have the last.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra import adopt, deploy, edge, keys, quota, stage
from infra.choices import CHOICES
from infra.faults import DeployFault
from tests.unit.test_stage import OUTPUTS

_ORIGIN = "gatewayresponse.header.Access-Control-Allow-Origin"
GOOD = f"one:{b64encode(b'thirty-two bytes are the least..').decode()}"


def client(service: str) -> Any:
    make: Any = boto3.client
    return make(service)


class Cloud:
    """What a deployment finds and makes; `deployed` are the keys that Chalice was handed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api: edge.Api | None = None
        self.deployed: list[str | None] = []
        self.templates = 0
        self.runs_enough = True
        visible = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False}
        acl = client("wafv2").create_web_acl(
            Name="seckill-dev",
            Scope="REGIONAL",
            DefaultAction={"Allow": {}},
            VisibilityConfig={**visible, "MetricName": "seckill-dev"},
        )
        self.acl = acl["Summary"]["ARN"]

    def require(self, *_: Any) -> None:
        if not self.runs_enough:
            message = "needs more functions at once"
            raise DeployFault(message)

    def apply_templates(self, *_: Any, **__: Any) -> dict[str, str]:
        self.templates += 1
        return {**OUTPUTS, "WebAclArn": self.acl}

    def chalice(self, command: str, name: str, *, keyed: str | None) -> None:
        assert (command, name) == ("deploy", "dev")
        self.deployed.append(keyed)
        gateway = client("apigateway")
        if self.api is None:
            self.api = edge.Api(gateway.create_rest_api(name="seckill")["id"], "api")
            root = gateway.get_resources(restApiId=self.api.id)["items"][0]["id"]
            method = {"restApiId": self.api.id, "resourceId": root, "httpMethod": "GET"}
            gateway.put_method(**method, authorizationType="NONE")
            gateway.put_integration(**method, type="MOCK")
        gateway.create_deployment(restApiId=self.api.id, stageName="api")
        note = adopt.record_path(self.folder, "dev")
        note.parent.mkdir(parents=True, exist_ok=True)
        rest_api = {"name": "rest_api", "resource_type": "rest_api", "rest_api_id": self.api.id}
        note.write_text(json.dumps({"resources": [{**rest_api, "rest_api_url": "https://a/api/"}]}))

    def write_keys(self, value: str, type_: Any = "SecureString") -> None:
        boto3.client("ssm").put_parameter(Name=keys.parameter("dev"), Value=value, Type=type_)

    def stage(self) -> Any:
        assert self.api is not None
        return client("apigateway").get_stage(restApiId=self.api.id, stageName="api")

    def answers(self) -> dict[str, Any]:
        assert self.api is not None
        found = client("apigateway").get_gateway_responses(restApiId=self.api.id)["items"]
        return {told["responseType"]: told for told in found}


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")  # where the outputs say that it is
    with mock_aws():
        made = Cloud(tmp_path)
        config = tmp_path / ".chalice" / "config.json"
        config.parent.mkdir()
        before = stage.without_outputs(stage.read(), "dev")
        before["stages"]["dev"]["environment_variables"]["CORS_ORIGIN"] = "https://shop.example"
        stage.write(before, config)
        monkeypatch.setattr(stage, "CONFIG", config)
        monkeypatch.setattr(deploy, "ROOT", tmp_path)
        monkeypatch.setattr(deploy, "apply_templates", made.apply_templates)
        monkeypatch.setattr(deploy, "run_chalice", made.chalice)
        monkeypatch.setattr(quota, "require", made.require)
        yield made


def protected(cloud: Cloud) -> bool:
    found = cloud.stage()
    limit = found.get("methodSettings", {}).get("*/*", {}).get("throttlingRateLimit")
    limited = bool(limit == CHOICES["dev"].crowd.per_second)
    return limited and found.get("webAclArn") == cloud.acl


def test_an_account_that_runs_too_few_functions_is_left_as_it_is(cloud: Cloud) -> None:
    cloud.runs_enough = False
    with pytest.raises(DeployFault, match="more functions"):
        deploy.deploy("dev")
    assert (cloud.templates, cloud.deployed) == (0, [])


def test_a_deployment_ends_with_an_api_that_is_protected(cloud: Cloud) -> None:
    for _ in range(2):
        assert deploy.deploy("dev") == "https://a/api"
        assert protected(cloud)
        origin = cloud.answers()["THROTTLED"]["responseParameters"][_ORIGIN]
        assert origin == "'https://shop.example'"
    assert cloud.deployed == [None, None]


def test_an_api_that_can_not_be_given_our_answers_is_protected_all_the_same(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        message = "TooManyRequestsException"
        raise DeployFault(message)

    monkeypatch.setattr(edge, "answer", refused)
    with pytest.raises(DeployFault, match="TooMany"):
        deploy.deploy("dev")
    assert protected(cloud)


def test_chalice_is_handed_the_keys(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.write_keys(GOOD)
    deploy.deploy("dev")
    assert cloud.deployed == [GOOD]
    said = capsys.readouterr().out
    assert "admission keys are in place" in said
    assert GOOD not in said


def test_a_stage_that_would_keep_its_logs_for_ever_is_left_as_it_is(cloud: Cloud) -> None:
    config = stage.read()
    del config["stages"]["dev"]["log_retention_in_days"]
    stage.write(config)
    with pytest.raises(DeployFault, match="log_retention_in_days"):
        deploy.deploy("dev")
    assert stage.read() == config
    assert cloud.deployed == []


def test_keys_that_are_none_stop_a_deployment_before_there_is_an_api(cloud: Cloud) -> None:
    cloud.write_keys(GOOD, "String")
    with pytest.raises(DeployFault, match="not encrypted"):
        deploy.deploy("dev")
    assert cloud.deployed == []
