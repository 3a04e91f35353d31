"""A stage's configuration: the template's outputs go in, and nothing else moves."""

import json
from pathlib import Path
from typing import Any

import pytest

from chalicelib.config import read_settings
from infra import stage
from infra.faults import DeployFault
from infra.policies import GRANTS, IN_VPC, STAGES
from localstack.cloud import ROOT

OUTPUTS = {
    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:seckill-dev-events",
    "EventsQueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/seckill-dev-events",
    "TimersQueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/seckill-dev-timers",
    "RedisUrl": "rediss://store.example:6379/0",
    "RedisCluster": "true",
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupId": "sg-1",
    "UserPoolArn": "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_a",
    "UserPoolId": "eu-west-1_a",
    "UserPoolClientId": "client",
    "WebAclArn": "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/seckill-dev/1",
}


# The longest that Lambda lets a function run.
LONGEST_S = 900


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return stage.read()


def test_outputs_become_settings_that_the_program_reads(config: dict[str, Any]) -> None:
    changed = stage.with_outputs(config, "dev", OUTPUTS, cloud=True)
    settings = read_settings(changed["stages"]["dev"]["environment_variables"])
    assert (settings.stage, settings.topic_arn) == ("dev", OUTPUTS["TopicArn"])
    assert (settings.redis_url, settings.redis_cluster) == (OUTPUTS["RedisUrl"], True)
    assert settings.events_queue_url == OUTPUTS["EventsQueueUrl"]
    assert settings.timers_queue_url == OUTPUTS["TimersQueueUrl"]


def test_only_what_touches_the_store_is_in_the_vpc(config: dict[str, Any]) -> None:
    functions = stage.with_outputs(config, "dev", OUTPUTS, cloud=True)["stages"]["dev"][
        "lambda_functions"
    ]
    inside = {name for name, function in functions.items() if "subnet_ids" in function}
    assert inside == set(IN_VPC) == {"api_handler", "sweep", "wake", "recover", "reconcile"}
    assert all(functions[name]["subnet_ids"] == ["subnet-1", "subnet-2"] for name in inside)
    assert all(functions[name]["security_group_ids"] == ["sg-1"] for name in inside)


def test_the_rest_stays_and_taking_the_outputs_out_gives_back_the_old_file(
    config: dict[str, Any], tmp_path: Path
) -> None:
    changed = stage.with_outputs(config, "dev", OUTPUTS, cloud=True)
    assert changed["stages"]["prod"] == config["stages"]["prod"]
    assert stage.home(changed, "dev") == ("eu-west-1", "123456789012")
    assert stage.home(config, "dev") is None
    path = tmp_path / "config.json"
    stage.write(stage.without_outputs(changed, "dev"), path)
    assert path.read_text() == stage.CONFIG.read_text()
    assert [found.name for found in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_missing_output_is_named_and_nothing_is_changed(
    config: dict[str, Any], name: str
) -> None:
    before = json.dumps(config)
    rest = {key: value for key, value in OUTPUTS.items() if key != name}
    with pytest.raises(DeployFault, match=name):
        stage.with_outputs(config, "dev", rest, cloud=True)
    assert json.dumps(config) == before


def test_a_password_never_gets_into_the_file(config: dict[str, Any]) -> None:
    secret = OUTPUTS | {"RedisUrl": "rediss://user:hush@store.example:6379/0"}
    with pytest.raises(DeployFault, match="RedisUrl carries a password") as told:
        stage.with_outputs(config, "dev", secret, cloud=True)
    assert "hush" not in str(told.value)


def test_an_unknown_stage_is_named(config: dict[str, Any]) -> None:
    with pytest.raises(DeployFault, match=r"no stage 'qa' .*: local, dev, prod"):
        stage.with_outputs(config, "qa", OUTPUTS, cloud=True)


@pytest.mark.parametrize("name", STAGES)
def test_each_function_has_its_policy_and_the_time_limit_that_recoveries_wait_for(
    config: dict[str, Any], name: str
) -> None:
    found = config["stages"][name]
    assert found["autogen_policy"] is False
    assert found["environment_variables"]["STAGE"] == name
    functions = found["lambda_functions"]
    assert set(functions) == set(GRANTS)
    for function, own in functions.items():
        assert own["iam_policy_file"] == f"policy-{name}-{function}.json"
        limit = own.get("lambda_timeout", config["lambda_timeout"])
        if function in ("recover", "reconcile"):
            assert limit == LONGEST_S, "they read whole journals; what they decide, they do last"
        elif GRANTS[function].in_vpc:
            # After SETTLE_S nothing that began before may still decide.
            assert limit == float(found["environment_variables"]["SETTLE_S"])
        if GRANTS[function].fed_by:
            template = (ROOT / "infra" / "template.yaml").read_text()
            visible_s = int(
                template.split("VisibilitySeconds:")[1].split("Default: ")[1].split()[0]
            )
            assert visible_s >= 6 * limit
