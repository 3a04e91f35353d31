"""The template of `infra/`, applied to the local AWS endpoint: LocalStack or a stand-in for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import localstack_client.session
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from localstack.processes import LocalCloudError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

TEMPLATE = Path(__file__).parent.parent / "infra" / "template.yaml"
REGION = "us-east-1"

# A failed message comes again after seconds, not after a minute: nobody waits for that locally.
LOCAL_PARAMETERS = {"VisibilitySeconds": "5", "MaxReceiveCount": "3"}


def session(endpoint_url: str) -> Any:
    """A boto3-like session whose clients talk to `endpoint_url`."""
    host = urlsplit(endpoint_url)
    return localstack_client.session.Session(
        region_name=REGION, localstack_host=f"{host.hostname}:{host.port}"
    )


def provision(endpoint_url: str, stage: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Create or update the stage's stack; returns its outputs by name.

    Raises:
        LocalCloudError: the endpoint is away or the stack failed.
    """
    cloudformation: CloudFormationClient = session(endpoint_url).client("cloudformation")
    name = f"seckill-{stage}"
    arguments: dict[str, Any] = {
        "StackName": name,
        "TemplateBody": TEMPLATE.read_text(),
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value}
            for key, value in {"Stage": stage, **parameters}.items()
        ],
    }
    try:
        if _exists(cloudformation, name):
            _update(cloudformation, arguments)
        else:
            cloudformation.create_stack(**arguments)
            cloudformation.get_waiter("stack_create_complete").wait(
                StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
            )
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except (BotoCoreError, ClientError, WaiterError) as error:
        message = f"the stack {name} could not be made on {endpoint_url}: {error}"
        raise LocalCloudError(message) from error
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def _exists(cloudformation: "CloudFormationClient", name: str) -> bool:
    pages = cloudformation.get_paginator("list_stacks").paginate()
    return any(
        stack["StackName"] == name and stack["StackStatus"] != "DELETE_COMPLETE"
        for page in pages
        for stack in page["StackSummaries"]
    )


def _update(cloudformation: "CloudFormationClient", arguments: dict[str, Any]) -> None:
    try:
        cloudformation.update_stack(**arguments)
    except ClientError as error:
        if "No updates" not in str(error):
            raise
        return
    cloudformation.get_waiter("stack_update_complete").wait(
        StackName=arguments["StackName"], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
