"""What stands before the API: limits by method, and the web ACL."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

import app as entry_points
from infra import adopt, choices, deploy, destroy, edge, policies, stack, stage
from infra.choices import CHOICES, Choices, Limit
from infra.faults import DeployFault
from tests.unit.template import load, present

CHOSEN = Choices(crowd=Limit(7, 5), paying=Limit(3, 2))
PAY = "~1command~1coupons~1{coupon_id}~1payment/POST"
GIVE_BACK = "~1command~1coupons~1{coupon_id}/DELETE"


def client(service: str) -> Any:
    make: Any = boto3.client
    return make(service)


@pytest.fixture
def cloud() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture
def api(cloud: None) -> edge.Api:
    """An API with one stage, as little as moto deploys."""
    gateway = client("apigateway")
    api_id = gateway.create_rest_api(name="seckill")["id"]
    root = gateway.get_resources(restApiId=api_id)["items"][0]["id"]
    of_root = {"restApiId": api_id, "resourceId": root, "httpMethod": "GET"}
    gateway.put_method(**of_root, authorizationType="NONE")
    gateway.put_integration(**of_root, type="MOCK")
    gateway.create_deployment(restApiId=api_id, stageName="api")
    return edge.Api(api_id, "api")


@pytest.fixture
def acl(cloud: None) -> str:
    """The ARN of a web ACL that is as the template has it, with the parameters' defaults."""
    template = load()
    [wanted] = [r["Properties"] for r in present("Resources", Cloud="true").values()
                if r["Type"] == "AWS::WAFv2::WebACL"]  # fmt: skip

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(part) for name, part in value.items()}
        if isinstance(value, list):
            return [plain(part) for part in value]
        if isinstance(value, str) and value.startswith("Ref "):
            return template["Parameters"][value.removeprefix("Ref ")]["Default"]
        if isinstance(value, str) and value.startswith("Sub "):
            return value.removeprefix("Sub ").replace("${Stage}", "dev")
        return value

    made = client("wafv2").create_web_acl(**plain(wanted))  # botocore knows the shapes
    return str(made["Summary"]["ARN"])


def settings(api: edge.Api) -> dict[str, tuple[float, int]]:
    """(requests a second, at once) by method."""
    found = client("apigateway").get_stage(restApiId=api.id, stageName=api.stage)
    return {
        methods: (told["throttlingRateLimit"], told["throttlingBurstLimit"])
        for methods, told in found["methodSettings"].items()
    }


def test_who_pays_or_gives_back_has_a_lane_of_their_own(api: edge.Api) -> None:
    for _ in range(2):
        edge.limit(client("apigateway"), api, CHOSEN)
        assert settings(api) == {"*/*": (7, 5), PAY: (3, 2), GIVE_BACK: (3, 2)}


def test_the_lanes_are_those_of_routes_that_exist() -> None:
    for method, path in choices.PAYING:
        assert method in entry_points.app.routes[path]


def test_an_unknown_api_is_one_line(cloud: None) -> None:
    with pytest.raises(DeployFault, match="UpdateStage") as told:
        edge.limit(client("apigateway"), edge.Api("nowhere", "api"), CHOSEN)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_the_crowd_leaves_those_who_pay_what_an_account_has(name: str) -> None:
    chosen = CHOICES[name]
    lanes = len(choices.PAYING)
    together = chosen.crowd.per_second + lanes * chosen.paying.per_second
    assert together <= choices.ACCOUNT_PER_SECOND
    assert chosen.crowd.at_once + lanes * chosen.paying.at_once <= choices.ACCOUNT_AT_ONCE
    assert 0 < chosen.paying.per_second < chosen.crowd.per_second


def test_every_stage_in_the_cloud_has_its_choices() -> None:
    assert (
        set(CHOICES) == set(policies.STAGES) - {"local"} == set(stage.read()["stages"]) - {"local"}
    )
    with pytest.raises(DeployFault, match=r"no limits for stage 'qa' .*: dev, prod"):
        choices.choices_of("qa")


def test_the_web_acl_goes_before_the_api_and_away_again(api: edge.Api, acl: str) -> None:
    gateway, wafv2 = client("apigateway"), client("wafv2")
    arn = deploy.stage_arn(boto3.Session(), api)
    assert arn == f"arn:aws:apigateway:us-east-1::/restapis/{api.id}/stages/api"
    for _ in range(2):
        edge.guard(wafv2, arn, acl, 0)
        found = gateway.get_stage(restApiId=api.id, stageName="api")
        assert found["webAclArn"] == acl
        assert wafv2.get_web_acl_for_resource(ResourceArn=arn)["WebACL"]["ARN"] == acl
    for _ in range(2):
        edge.unguard(wafv2, arn)
        assert "webAclArn" not in gateway.get_stage(restApiId=api.id, stageName="api")


def test_what_was_set_survives_another_deployment_of_the_api(api: edge.Api, acl: str) -> None:
    gateway = client("apigateway")
    edge.limit(gateway, api, CHOSEN)
    edge.guard(client("wafv2"), deploy.stage_arn(boto3.Session(), api), acl, 0)
    gateway.create_deployment(restApiId=api.id, stageName="api")
    edge.limit(gateway, api, CHOSEN)
    edge.guard(client("wafv2"), deploy.stage_arn(boto3.Session(), api), acl, 0)
    assert len(settings(api)) == 3
    assert gateway.get_stage(restApiId=api.id, stageName="api")["webAclArn"] == acl


def test_a_stage_that_waf_does_not_know_yet_is_waited_for_but_not_for_ever() -> None:
    wafv2 = client("wafv2")
    with Stubber(wafv2) as answers:
        answers.add_client_error("associate_web_acl", "WAFUnavailableEntityException")
        answers.add_response("associate_web_acl", {})
        edge.guard(wafv2, "arn:of-a-stage-of-an-api", "arn:of-a-web-acl-of-a-stage", 0.05)
        answers.assert_no_pending_responses()
        answers.add_client_error("associate_web_acl", "WAFUnavailableEntityException", "later")
        with pytest.raises(DeployFault, match="later"):
            edge.guard(wafv2, "arn:of-a-stage-of-an-api", "arn:of-a-web-acl-of-a-stage", -1)
        answers.add_client_error("associate_web_acl", "AccessDeniedException")
        with pytest.raises(DeployFault, match="may not do AssociateWebACL"):
            edge.guard(wafv2, "arn:of-a-stage-of-an-api", "arn:of-a-web-acl-of-a-stage", 60)


def test_what_has_no_web_acl_can_be_destroyed() -> None:
    wafv2 = client("wafv2")
    with Stubber(wafv2) as answers:
        answers.add_client_error("disassociate_web_acl", "WAFNonexistentItemException")
        edge.unguard(wafv2, "arn:of-a-stage-of-an-api")
        answers.add_client_error("disassociate_web_acl", "AccessDeniedException")
        with pytest.raises(DeployFault, match="may not do DisassociateWebACL"):
            edge.unguard(wafv2, "arn:of-a-stage-of-an-api")


def test_deploying_does_both_and_says_so(
    api: edge.Api, acl: str, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy.protect(boto3.Session(), api, "dev", {"WebAclArn": acl})
    crowd, paying = CHOICES["dev"].crowd, CHOICES["dev"].paying
    assert settings(api)["*/*"] == (crowd.per_second, crowd.at_once)
    assert settings(api)[PAY] == (paying.per_second, paying.at_once)
    found = client("apigateway").get_stage(restApiId=api.id, stageName="api")
    assert found["webAclArn"] == acl
    assert re.search(r"limits: 200 .*, 50 to pay\nthe web ACL is", capsys.readouterr().out)
    with pytest.raises(DeployFault, match="dev has no API"):
        deploy.protect(boto3.Session(), None, "dev", {"WebAclArn": acl})


def test_an_api_is_found_by_chalices_note(tmp_path: Path) -> None:
    assert adopt.rest_api(tmp_path, "dev") is None
    path = adopt.record_path(tmp_path, "dev")
    path.parent.mkdir(parents=True)
    path.write_text('{"resources": [{"name": "f", "resource_type": "lambda_function"}, {"name":'
                    ' "rest_api", "resource_type": "rest_api", "rest_api_id": "a1"}]}')  # fmt: skip
    assert (adopt.rest_api(tmp_path, "dev") or {})["rest_api_id"] == "a1"
    assert stage.gateway_stage(stage.read(), "dev") == "api"


class Recorder:
    """A CloudFormation that takes what it is sent, and has no stack before."""

    def __init__(self) -> None:
        self.sent: dict[str, dict[str, str]] = {}

    def apply(self, _: Any, wanted: stack.Stack, __: Any) -> dict[str, str]:
        self.sent[wanted.name] = dict(wanted.parameters)
        return {"of": wanted.name}


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(stack, "apply", recorder.apply)
    return recorder


def choose(monkeypatch: pytest.MonkeyPatch, **parameters: str) -> None:
    chosen = {"dev": Choices(Limit(1, 1), Limit(1, 1), parameters)}
    monkeypatch.setattr(choices, "CHOICES", chosen)


def test_each_template_gets_the_parameters_that_it_knows(
    applied: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, StoreKind="serverless", AlarmEmail="a@b", CommandsPerAddress="50")
    assert deploy.apply_templates(None, "dev", allow_loss=False) == {"of": "seckill-dev"}  # type: ignore[arg-type]
    shared = {"Stage": "dev", "StoreKind": "serverless"}
    assert applied.sent == {
        "seckill-dev": shared | {"Cloud": "true", "CommandsPerAddress": "50"},
        "seckill-dev-watch": shared | {"AlarmEmail": "a@b"},
    }


def test_a_choice_that_no_template_knows_is_named_before_anything_is_done(
    applied: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, AlarmMail="a@b")
    with pytest.raises(DeployFault, match="AlarmMail for dev, which no template knows"):
        deploy.apply_templates(None, "dev", allow_loss=False)  # type: ignore[arg-type]
    assert applied.sent == {}


def test_the_local_stage_has_nothing_that_watches(applied: Recorder) -> None:
    deploy.apply_templates(None, "local", allow_loss=False)  # type: ignore[arg-type]
    assert applied.sent == {"seckill-local": {"Stage": "local"}}


@pytest.mark.parametrize("path", [stack.TEMPLATE, stack.WATCH])
def test_a_templates_parameters_are_read_without_a_parser(path: Path) -> None:
    assert stack.parameters_of(path.read_text()) == set(load(path)["Parameters"])
    assert stack.parameters_of("{}") == set()


def test_destroying_takes_the_web_acl_away_then_the_api_then_both_stacks(
    api: edge.Api, acl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudformation, wafv2 = boto3.client("cloudformation"), client("wafv2")
    arn = deploy.stage_arn(boto3.Session(), api)
    edge.guard(wafv2, arn, acl, 0)
    for name in deploy.stack_names("dev"):
        topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": name}}
        stack.apply(
            cloudformation,
            stack.Stack(name, json.dumps({"Resources": {"Topic": topic}})),
            lambda _: None,
        )
    note = adopt.record_path(tmp_path, "dev")
    note.parent.mkdir(parents=True)
    rest_api = {"name": "rest_api", "resource_type": "rest_api", "rest_api_id": api.id}
    note.write_text(json.dumps({"resources": [rest_api]}))
    config = tmp_path / ".chalice" / "config.json"
    stage.write(stage.without_outputs(stage.read(), "dev"), config)
    monkeypatch.setattr(stage, "CONFIG", config)
    monkeypatch.setattr(destroy, "ROOT", tmp_path)
    monkeypatch.setattr(deploy, "ROOT", tmp_path)
    done: list[Any] = []

    def chalice(command: str, name: str, environ: Mapping[str, str]) -> None:
        guarded = wafv2.get_web_acl_for_resource(ResourceArn=arn).get("WebACL")
        done.extend([command, name, guarded, *(s for s in stacks())])
        assert environ["USER_POOL_ARN"]
        note.unlink()

    def stacks() -> list[str]:
        return sorted(s["StackName"] for s in cloudformation.describe_stacks()["Stacks"])

    monkeypatch.setattr(destroy, "run_chalice", chalice)
    destroy.destroy("dev", "")
    assert done == ["delete", "dev", None, "seckill-dev", "seckill-dev-watch"]
    assert stacks() == []
    destroy.destroy("dev", "")  # again: there is nothing for Chalice to delete
    assert len(done) == 5
