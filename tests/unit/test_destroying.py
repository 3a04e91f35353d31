"""Taking a stage down: all of it, or nothing."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra import adopt, deploy, destroy, stack, stage
from infra.faults import DeployFault
from localstack.cloud import ROOT

KEY = [{"AttributeName": "id", "KeyType": "HASH"}]
TABLE: dict[str, Any] = {
    "TableName": "seckill-prod-events",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "KeySchema": KEY,
}
RESOURCES = {"EventsTable": {"Type": "AWS::DynamoDB::Table", "Properties": TABLE}}


def client(service: str) -> Any:
    make: Any = boto3.client
    return make(service)


@pytest.fixture
def deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A stage prod of a table, a user pool and an API; what Chalice was told to delete."""
    config = tmp_path / ".chalice" / "config.json"
    config.parent.mkdir()
    stage.write(stage.without_outputs(stage.read(), "prod"), config)
    monkeypatch.setattr(stage, "CONFIG", config)
    monkeypatch.setattr(destroy, "ROOT", tmp_path)
    monkeypatch.setattr(deploy, "ROOT", tmp_path)
    note = adopt.record_path(tmp_path, "prod")
    note.parent.mkdir()
    note.write_text('{"resources": [{"name": "sweep", "resource_type": "lambda_function"}]}')
    told: list[str] = []

    def chalice(command: str, name: str, _: Mapping[str, str]) -> None:
        told.append(f"{command} {name}")
        note.unlink()

    monkeypatch.setattr(destroy, "run_chalice", chalice)
    of_stack = stack.parts

    def parts(cloudformation: Any, name: str, kind: str) -> list[str]:
        """Moto's CloudFormation makes no user pools."""
        if kind != "AWS::Cognito::UserPool":
            return of_stack(cloudformation, name, kind)
        return [pool]

    monkeypatch.setattr(stack, "parts", parts)
    with mock_aws():
        pool = client("cognito-idp").create_user_pool(PoolName="seckill-prod")["UserPool"]["Id"]
        template = json.dumps({"Resources": RESOURCES})
        wanted = stack.Stack("seckill-prod", template)
        stack.apply(client("cloudformation"), wanted, lambda _: None, 0)
        yield told


def protect_table(*, wanted: bool) -> None:
    client("dynamodb").update_table(
        TableName="seckill-prod-events", DeletionProtectionEnabled=wanted
    )


def protect_pool(*, wanted: bool) -> None:
    [pool] = client("cognito-idp").list_user_pools(MaxResults=9)["UserPools"]
    state = "ACTIVE" if wanted else "INACTIVE"
    client("cognito-idp").update_user_pool(UserPoolId=pool["Id"], DeletionProtection=state)


@pytest.mark.parametrize(
    ("protect", "says"),
    [(protect_table, "table seckill-prod-events: "), (protect_pool, r"user pool \S+: ")],
)
def test_what_is_protected_is_left_whole_until_the_protection_is_off(
    deleted: list[str], protect: Any, says: str
) -> None:
    protect(wanted=True)
    with pytest.raises(DeployFault, match=f"{says}protected .* nothing was changed") as told:
        destroy.destroy("prod", "prod")
    assert "\n" not in str(told.value)
    assert deleted == []
    assert client("cloudformation").describe_stacks()["Stacks"]
    protect(wanted=False)
    destroy.destroy("prod", "prod")
    assert deleted == ["delete prod"]
    assert client("cloudformation").describe_stacks()["Stacks"] == []
    assert client("dynamodb").list_tables()["TableNames"] == []


def test_what_is_half_gone_is_taken_down_all_the_same(deleted: list[str]) -> None:
    client("dynamodb").delete_table(TableName="seckill-prod-events")
    [pool] = client("cognito-idp").list_user_pools(MaxResults=9)["UserPools"]
    client("cognito-idp").delete_user_pool(UserPoolId=pool["Id"])
    destroy.refuse_what_is_protected(client, "prod")


def test_what_its_functions_said_is_gone_and_what_other_stages_said_is_not(
    deleted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    logs = client("logs")
    for group in ("prod", "prod-sweep", "prod-api_handler", "production", "dev"):
        logs.create_log_group(logGroupName=f"/aws/lambda/seckill-{group}")
    for _ in range(2):
        destroy.destroy("prod", "prod")
        groups = logs.describe_log_groups()["logGroups"]
        assert [group["logGroupName"] for group in groups] == [
            "/aws/lambda/seckill-dev", "/aws/lambda/seckill-production",
        ]  # fmt: skip
    assert capsys.readouterr().out.endswith("if there were any: /seckill/prod/admission-keys\n")


def test_the_way_that_is_told_is_there() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    assert "## Taking production down" in text
