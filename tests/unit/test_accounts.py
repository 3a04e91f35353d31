"""Accounts of a deployed stage: the first operator, and a token to try things with."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import jwt
import pytest
from moto import mock_aws

from infra import accounts, stack, stage

PASSWORD = "correct-Horse-7-battery"  # noqa: S105
EMAIL = "ada@shop.example"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def cognito(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A stage dev whose stack has nothing but the outputs of a user pool."""
    config = tmp_path / "config.json"
    stage.write(stage.without_outputs(stage.read(), "dev"), config)
    monkeypatch.setattr(stage, "CONFIG", config)
    monkeypatch.setenv("PASSWORD", PASSWORD)
    make: Any = boto3.client
    with mock_aws():
        client = make("cognito-idp")
        pool = client.create_user_pool(PoolName="seckill-dev", UsernameAttributes=["email"])
        pool_id = pool["UserPool"]["Id"]
        client.create_group(UserPoolId=pool_id, GroupName="admin")
        app = client.create_user_pool_client(
            UserPoolId=pool_id,
            ClientName="seckill-dev",
            ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        )["UserPoolClient"]
        found = {"UserPoolId": pool_id, "UserPoolClientId": app["ClientId"]}
        template = {
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": value} for name, value in found.items()},
        }
        wanted = stack.Stack("seckill-dev", json.dumps(template))
        stack.apply(boto3.client("cloudformation"), wanted, lambda _: None, 0)
        yield client


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["infra.accounts", *arguments])
    return accounts.main()


@pytest.mark.parametrize(
    ("admin", "says", "groups"),
    [
        (["--admin", "1"], "is an operator", ["admin"]),
        (["--admin", "0"], "has an account", None),
        ([], "has an account", None),
    ],
)
def test_who_was_made_signs_in_with_the_newest_password(
    cognito: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    admin: list[str],
    says: str,
    groups: list[str] | None,
) -> None:
    assert run(monkeypatch, "make", "dev", EMAIL, *admin) == 0
    monkeypatch.setenv("PASSWORD", f"another-{PASSWORD}")
    assert run(monkeypatch, "make", "dev", EMAIL, *admin) == 0
    said = capsys.readouterr().out.splitlines()
    assert run(monkeypatch, "token", "dev", EMAIL) == 0
    [token] = capsys.readouterr().out.split()  # nothing else: a shell takes it as it is
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["token_use"], claims.get("cognito:groups")) == ("id", groups)
    assert said == [f"{EMAIL} {says} of dev, with the id {claims['sub']}"] * 2


@pytest.mark.parametrize("target", ["account", "token"])
def test_make_leaves_it_to_the_program_what_admin_means(target: str) -> None:
    """`$(if $(ADMIN),...)` takes `ADMIN=0` for a yes."""
    said = {"account": ["STAGE=dev", f"EMAIL={EMAIL}"], "token": ["CUSTOMER=alice"]}[target]
    make = subprocess.run(  # noqa: S603
        ["make", "--dry-run", "--no-print-directory", target, *said, "ADMIN=0"],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert make.stdout.rstrip().endswith('--admin "0"')


def test_a_wrong_password_is_one_line_without_it(
    cognito: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "make", "dev", EMAIL)
    monkeypatch.setenv("PASSWORD", "Mistyped-0ne-of-twelve")
    capsys.readouterr()
    assert run(monkeypatch, "token", "dev", EMAIL) == 1
    said = capsys.readouterr()
    assert said.err.startswith("seckill: ")
    assert "NotAuthorizedException" in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert "Mistyped" not in said.err


def test_a_stage_that_was_not_deployed_has_no_accounts(
    cognito: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    boto3.client("cloudformation").delete_stack(StackName="seckill-dev")
    assert run(monkeypatch, "make", "dev", EMAIL) == 1
    assert "no output UserPoolId, UserPoolClientId; deploy it first" in capsys.readouterr().err
