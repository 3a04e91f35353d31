"""A CloudFormation stack, created or brought up to date; every state it may be in has an answer."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from infra.faults import DeployFault, told_in_one_line

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

TEMPLATE = Path(__file__).parent / "template.yaml"
WATCH = Path(__file__).parent / "watch.yaml"

_LONGEST_S = 45 * 60.0  # a store with a replica takes AWS about a quarter of an hour
# Replacing or removing one of these loses what is in it.
_HOLD_WHAT_MATTERS = (
    "AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::ElastiCache::ReplicationGroup",
    "AWS::ElastiCache::ServerlessCache", "AWS::Cognito::UserPool",
)  # fmt: skip
_NEVER_WAS_THERE = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
_WELL = ("CREATE_COMPLETE", "UPDATE_COMPLETE")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stack:
    """What a stack should be. `allow_loss`: tables, queues or stores may be replaced."""

    name: str
    template: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    allow_loss: bool = False


def apply(
    cloudformation: "CloudFormationClient", stack: Stack, say: Say, poll_s: float = 5.0
) -> dict[str, str]:
    """Create or update a stack and wait for it; returns its outputs by name.

    Doing it again changes nothing, also after an interruption: work under way is waited for.

    Raises:
        DeployFault: it can't be done; the stack is as it was before, or says how to go on.
    """
    with told_in_one_line():
        status = _settled(cloudformation, stack.name, say, poll_s)
        if status in _NEVER_WAS_THERE:
            message = f"the stack {stack.name} is in {status}: {_reason(cloudformation, stack.name)}; take it away (`make destroy`), then deploy again"  # noqa: E501
            raise DeployFault(message)
        if status == "DELETE_FAILED":
            message = f"the stack {stack.name} is half deleted: {_reason(cloudformation, stack.name)}; CloudFormation can only go on deleting it: save what is left in its tables if you need it, then `make destroy` and deploy again"  # noqa: E501
            raise DeployFault(message)
        if status == "UPDATE_ROLLBACK_FAILED":
            message = f"the stack {stack.name} is in {status}: {_reason(cloudformation, stack.name)}; mend that, run `aws cloudformation continue-update-rollback --stack-name {stack.name}`, then deploy again"  # noqa: E501
            raise DeployFault(message)
        if status is None:
            say(f"creating the stack {stack.name}")
            cloudformation.create_stack(**_arguments(stack))
        elif not _execute_changes(cloudformation, stack, say, poll_s):
            say(f"the stack {stack.name} is up to date")
            return outputs(cloudformation, stack.name)
        status = _settled(cloudformation, stack.name, say, poll_s)
        if status not in _WELL:
            message = (
                f"the stack {stack.name} ended as {status}: {_reason(cloudformation, stack.name)}"
            )
            raise DeployFault(message)
        return outputs(cloudformation, stack.name)


def parameters_of(template: str) -> set[str]:
    """The names of a template's parameters; the template is one of ours, in YAML."""
    section = re.search(r"(?m)^Parameters:\n((?:(?: .*)?\n)+)", template)
    return set(re.findall(r"(?m)^  (\w+):$", section[1])) if section else set()


def outputs(cloudformation: "CloudFormationClient", name: str) -> dict[str, str]:
    """A stack's outputs by name; none if there is no such stack."""
    found = _describe(cloudformation, name) or {}
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def parts(cloudformation: "CloudFormationClient", name: str, kind: str) -> list[str]:
    """The physical ids of a stack's resources of one type; none if there is no such stack."""
    if _describe(cloudformation, name) is None:
        return []
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    return [
        part["PhysicalResourceId"]
        for page in pages
        for part in page["StackResourceSummaries"]
        if part["ResourceType"] == kind and part["ResourceStatus"] != "DELETE_COMPLETE"
    ]


def remove(
    cloudformation: "CloudFormationClient", name: str, say: Say, poll_s: float = 5.0
) -> None:
    """Delete a stack, in whatever state it is, and wait until it is gone.

    Raises:
        DeployFault: something could not be deleted; doing it again goes on.
    """
    with told_in_one_line():
        if _settled(cloudformation, name, say, poll_s) is None:
            say(f"there is no stack {name}")
            return
        say(f"deleting the stack {name}")
        cloudformation.delete_stack(StackName=name)
        status = _settled(cloudformation, name, say, poll_s)
        if status is not None:
            # A function's network interfaces outlive it by up to 45 minutes, and hold the network.
            message = f"the stack {name} ended as {status}: {_reason(cloudformation, name)}; saying it again later goes on"  # noqa: E501
            raise DeployFault(message)


def _arguments(stack: Stack) -> dict[str, Any]:
    return {
        "StackName": stack.name,
        "TemplateBody": stack.template,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value}
            for key, value in stack.parameters.items()
        ],
    }


def _describe(cloudformation: "CloudFormationClient", name: str) -> dict[str, Any] | None:
    try:
        found: Any = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"].get("Code") != "ValidationError":
            raise
        return None
    # An emulator may still know a deleted stack by its name.
    there: list[dict[str, Any]] = [s for s in found if s["StackStatus"] != "DELETE_COMPLETE"]
    return there[0] if there else None


def _settled(
    cloudformation: "CloudFormationClient", name: str, say: Say, poll_s: float
) -> str | None:
    """The stack's status once nothing is under way; None if there is no stack."""
    deadline = time.monotonic() + _LONGEST_S
    told = ""
    while (found := _describe(cloudformation, name)) is not None:
        status: str = found["StackStatus"]
        if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
            # A stack under review is one whose first change set was never executed.
            return None if status == "REVIEW_IN_PROGRESS" else status
        parts = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        done = sum(not part["ResourceStatus"].endswith("_IN_PROGRESS") for part in parts)
        line = f"  {status}: {done} of {len(parts)} parts settled"
        if line != told:
            say(line)
            told = line
        if time.monotonic() > deadline:
            message = f"the stack {name} is in {status} for too long; deploy again to go on waiting"
            raise DeployFault(message)
        time.sleep(poll_s)
    return None


def _execute_changes(
    cloudformation: "CloudFormationClient", stack: Stack, say: Say, poll_s: float
) -> bool:
    """Bring a stack up to date by a change set; False if there is nothing to change."""
    made = cloudformation.create_change_set(
        **_arguments(stack), ChangeSetName=f"deploy-{time.time_ns()}", ChangeSetType="UPDATE"
    )
    change_set = made["Id"]
    while True:
        found: Any = cloudformation.describe_change_set(
            ChangeSetName=change_set, StackName=stack.name
        )
        if found["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            break
        time.sleep(poll_s)
    reason = found.get("StatusReason", "")
    if found["Status"] == "FAILED":
        cloudformation.delete_change_set(ChangeSetName=change_set, StackName=stack.name)
        if "didn't contain changes" in reason or "No updates" in reason:
            return False
        message = f"the stack {stack.name} can't be changed: {reason}"
        raise DeployFault(message)
    lost = [] if stack.allow_loss else _lost(found.get("Changes", []))
    if lost:
        cloudformation.delete_change_set(ChangeSetName=change_set, StackName=stack.name)
        message = f"this would replace or remove {', '.join(lost)} with all that is in it; nothing was changed (ALLOW_LOSS=yes does it)"  # noqa: E501
        raise DeployFault(message)
    say(f"updating the stack {stack.name}: {len(found.get('Changes', []))} changes")
    cloudformation.execute_change_set(ChangeSetName=change_set, StackName=stack.name)
    return True


def _lost(changes: list[dict[str, Any]]) -> list[str]:
    told = [change["ResourceChange"] for change in changes if "ResourceChange" in change]
    return [
        change["LogicalResourceId"]
        for change in told
        if change["ResourceType"] in _HOLD_WHAT_MATTERS
        and (change["Action"] == "Remove" or change.get("Replacement") == "True")
    ]


def _reason(cloudformation: "CloudFormationClient", name: str) -> str:
    """Why it failed: what the first failing part said, in the newest run."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=name)
    reason = "no reason given"
    for event in (event for page in pages for event in page["StackEvents"]):
        if event["ResourceStatus"] in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS") and (
            event["LogicalResourceId"] == name
        ):
            break  # events come newest first: here the newest run began
        text = event.get("ResourceStatusReason", "")
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in text:
            reason = f"{event['LogicalResourceId']}: {text}"
    return " ".join(reason.split())[:300]
