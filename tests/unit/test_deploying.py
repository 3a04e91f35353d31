"""Deploying, as a user meets it: one line for each fault, and steps that may be repeated."""

import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra import account, deploy, destroy, keys, logs, package_size, smoke, stage
from infra.faults import DeployFault
from localstack.cloud import ROOT
from tests.unit.test_stage import OUTPUTS

DEPLOYED = stage.with_outputs(stage.read(), "dev", OUTPUTS, cloud=True)


@pytest.mark.parametrize("program", ["infra.deploy", "infra.destroy", "infra.logs"])
@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"AWS_DEFAULT_REGION": "", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
         "export AWS_DEFAULT_REGION"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "no AWS credentials"),
    ],
)  # fmt: skip
def test_without_a_region_or_credentials_it_is_one_line_and_nothing_changes(
    program: str, environ: dict[str, str], says: str
) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
               "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
    before = stage.CONFIG.read_text()
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", program, "dev"],
        cwd=ROOT,
        env={**clean, **nowhere, **{n: v for n, v in environ.items() if v}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("seckill: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert stage.CONFIG.read_text() == before


@mock_aws
def test_a_stage_that_is_elsewhere_is_not_touched() -> None:
    with pytest.raises(DeployFault, match=r"dev is in eu-west-1 of .* you are in us-east-1"):
        account.account(DEPLOYED, "dev")


@mock_aws
def test_a_stage_that_is_here_or_nowhere_may_be_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert account.account(DEPLOYED, "dev").region_name == "eu-west-1"
    assert account.account(stage.read(), "prod").region_name == "eu-west-1"


@pytest.mark.parametrize("environ", [{}, {"AWS_ENDPOINT_URL": ""}, {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
}])  # fmt: skip
@pytest.mark.parametrize("program", [deploy, destroy, smoke, logs, keys])
def test_the_open_stage_never_gets_near_a_real_account(
    program: Any,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def called(*_: Any, **__: Any) -> None:
        pytest.fail("AWS was called")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", called)
    monkeypatch.setattr(sys, "argv", ["program", *(["--stage"] * (program is smoke)), "local"])
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert program.main() == 1
    said = capsys.readouterr()
    assert re.fullmatch(r"seckill: stage local is open .* set AWS_ENDPOINT_URL; .*\n", said.err)
    assert said.out == ""


def test_prod_is_not_taken_down_by_accident() -> None:
    with pytest.raises(DeployFault, match="say CONFIRM=prod"):
        destroy.destroy("prod", "yes")


@mock_aws
def test_the_routes_function_has_a_log_group_that_does_not_keep_for_ever() -> None:
    client = boto3.client("logs")
    for _ in range(2):
        deploy.keep_logs(client, "dev", stage.log_days(stage.read(), "dev"))
    [group] = client.describe_log_groups()["logGroups"]
    assert (group["logGroupName"], group["retentionInDays"]) == ("/aws/lambda/seckill-dev", 7)


def test_a_stage_that_would_keep_its_logs_for_ever_is_one_line() -> None:
    config = stage.read()
    del config["stages"]["dev"]["log_retention_in_days"]
    with pytest.raises(DeployFault, match="stage dev has no log_retention_in_days"):
        stage.log_days(config, "dev")
    assert stage.log_days({**config, "log_retention_in_days": 3}, "dev") == 3


@mock_aws
def test_logs_are_told_once_in_order_of_time_without_the_noise() -> None:
    client = boto3.client("logs")
    now = round(time.time() * 1000) - 60_000
    for group, told in (
        ("seckill-dev", [(3, "third"), (0, "START RequestId: 1")]),
        ("seckill-dev-sweep", [(1, "first"), (2, "second")]),
        ("seckill-development", [(1, "another stage")]),
    ):
        name = f"/aws/lambda/{group}"
        client.create_log_group(logGroupName=name)
        client.create_log_stream(logGroupName=name, logStreamName="s")
        client.put_log_events(
            logGroupName=name,
            logStreamName="s",
            logEvents=[{"timestamp": now + at, "message": text} for at, text in sorted(told)],
        )
    seen: set[str] = set()
    said = list(logs.lines(client, "dev", now, "", seen))
    assert [line.split(" ", 1)[1] for line in said] == [
        "sweep first", "sweep second", "api_handler third",
    ]  # fmt: skip
    assert list(logs.lines(client, "dev", now, "", seen)) == []


def archive(folder: Path, size: int) -> Path:
    path = folder / "deployment.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("botocore/data.json", os.urandom(size))
    return path


def test_a_package_over_the_ceiling_fails_and_names_what_is_biggest(tmp_path: Path) -> None:
    fits, line = package_size.verdict(archive(tmp_path, 2_000_000), ceiling=2_100_000)
    assert (fits, line[:30]) == (0, "package: 2.0 MB of at most 2.1")
    code, line = package_size.verdict(archive(tmp_path, 2_000_000), ceiling=1_900_000)
    assert code == 1
    assert line.startswith("TOO BIG: package: 2.0 MB of at most 1.9 MB")
    assert "botocore 2.0 MB" in line
