"""A cloud of our own for one run: a real Valkey, and an AWS emulator that runs the deployed zip.

API Gateway, SNS, SQS, the event source mappings and the Lambda workers are the emulator's, IAM is
switched on: a function can do what its policy file allows, and nothing else.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from infra import stack, stage
from infra.http import Sale
from infra.package import ROOT, copy_project, package
from localstack.cloud import (
    aws_answers,
    ministack_binary,
    ministack_environ,
    store_answers,
    valkey_command,
)
from localstack.processes import Child, free_port, stop_all, wait_until
from localstack.provision import REGION

STAGE = "local"
LOGS = ROOT / ".local" / "e2e"
# Every worker unpacks the whole package: thousands of small files, which memory takes best.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
_BUCKET = "seckill-packages"
_SERVICES = "apigateway,cloudformation,dynamodb,events,iam,lambda,logs,monitoring,s3,sns,sqs,sts"

# A worker that ends while it has a batch holds it for this long; a cold one needs most of it.
_PARAMETERS = {"VisibilitySeconds": "30"}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cloud:
    """The running servers: the store's URL and the emulator's; `folder` has the run's files."""

    redis_url: str
    endpoint: str
    folder: Path

    def client(self, service: str) -> Any:
        """A boto3 client of the emulator."""
        return boto3.Session("test", "test", region_name=REGION).client(  # type: ignore[call-overload]
            service, endpoint_url=self.endpoint
        )


@contextmanager
def started() -> Iterator[Cloud]:
    """Both servers, ready; gone afterwards.

    Raises:
        LocalCloudError: one does not start.
    """
    folder = Path(
        tempfile.mkdtemp(prefix="seckill-e2e-", dir=_MEMORY if _MEMORY.is_dir() else None)
    )
    endpoint = f"http://127.0.0.1:{free_port()}"
    port = free_port()
    redis_url = f"redis://127.0.0.1:{port}/0"
    children: list[Child] = []
    try:
        children.append(Child("valkey", valkey_command(port, folder), os.environ, folder))
        environ = {
            **ministack_environ(endpoint, folder),
            "SERVICES": _SERVICES,
            "AUTH": "true",
            "LOG_LEVEL": "INFO",
            "MINISTACK_HOST": "127.0.0.1",
        }
        children.append(Child("aws", [ministack_binary()], environ, folder))
        wait_until(lambda: store_answers(redis_url), "the store", children)
        wait_until(lambda: aws_answers(endpoint), "the emulator", children)
        yield Cloud(redis_url, endpoint, folder)
    finally:
        stop_all(children)
        LOGS.mkdir(parents=True, exist_ok=True)
        for child in children:
            shutil.copy(child.log, LOGS)
        shutil.rmtree(folder)


def provision(cloud: Cloud, project: Path, say: Say) -> dict[str, str]:
    """Apply the template and write its outputs into the project's stage; returns them."""
    template = stack.Stack(
        f"seckill-{STAGE}", stack.TEMPLATE.read_text(), {"Stage": STAGE, **_PARAMETERS}
    )
    outputs = stack.apply(cloud.client("cloudformation"), template, say, poll_s=0.5)
    outputs |= {"RedisUrl": cloud.redis_url, "RedisCluster": "false"}
    path = project / ".chalice" / "config.json"
    config = stage.with_outputs(stage.read(path), STAGE, outputs, cloud=False)
    # The emulator's own setting AUTH (IAM) would reach its workers, where it means another thing.
    config["stages"][STAGE]["environment_variables"]["AUTH"] = "open"
    stage.write(config, path)
    return outputs


def deploy(cloud: Cloud, project: Path, say: Say) -> Sale:
    """Package the project and deploy it with CloudFormation; returns the sale at its API."""
    out = cloud.folder / f"package-{time.monotonic_ns()}"
    package(project, STAGE, out)
    archive = (out / "deployment.zip").read_bytes()
    key = f"{hashlib.sha256(archive).hexdigest()}.zip"
    say(f"packaged {len(archive) / 1e6:.1f} MB")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=_BUCKET)
    s3.put_object(Bucket=_BUCKET, Key=key, Body=archive)
    template = json.loads((out / "sam.json").read_text())
    for resource in template["Resources"].values():
        if "CodeUri" in resource["Properties"]:
            resource["Properties"]["CodeUri"] = f"s3://{_BUCKET}/{key}"
    app = stack.Stack(f"seckill-{STAGE}-app", json.dumps(template, separators=(",", ":")))
    outputs = stack.apply(cloud.client("cloudformation"), app, say, poll_s=0.5)
    return Sale(f"{cloud.endpoint}/_aws/execute-api/{outputs['RestAPIId']}/api")


def function(cloud: Cloud, resource: str) -> str:
    """The name that the emulator's CloudFormation gave to a function."""
    found = cloud.client("cloudformation").describe_stack_resource(
        StackName=f"seckill-{STAGE}-app", LogicalResourceId=resource
    )
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def new_project(cloud: Cloud) -> Path:
    """A fresh copy of what ships, so that the run's outputs touch no file of ours."""
    project = cloud.folder / "project"
    copy_project(project)
    for path in (project / ".chalice").glob("policy-*.json"):
        path.write_text(json.dumps(_as_the_emulator_names_them(json.loads(path.read_text()))))
    return project


# AWS asks for the same permission for one message and for ten; the emulator has two names.
_TEN = {
    "sns:Publish": "sns:PublishBatch",
    "sqs:SendMessage": "sqs:SendMessageBatch",
    "sqs:DeleteMessage": "sqs:DeleteMessageBatch",
}


def _as_the_emulator_names_them(policy: dict[str, Any]) -> dict[str, Any]:
    for statement in policy["Statement"]:
        actions = statement["Action"]
        actions += [_TEN[action] for action in actions if action in _TEN]
    return policy
