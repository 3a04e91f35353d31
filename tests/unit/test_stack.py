"""Stacks: every state they may be in ends in one clear line, and in a safe state."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)
from botocore.stub import Stubber
from moto import mock_aws

from infra import stack
from infra.faults import DeployFault, told_in_one_line

NAME = "seckill-local"


def template(queue: str = "one", **more: Any) -> str:
    queues = {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": queue}}, **more}
    outputs = {"Url": {"Value": {"Ref": "Queue"}}}
    return json.dumps({"Resources": queues, "Outputs": outputs})


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def moto_cloudformation() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("cloudformation")


@pytest.fixture
def stubbed() -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client("cloudformation")
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


def described(status: str, **more: Any) -> dict[str, Any]:
    return {"Stacks": [{"StackName": NAME, "CreationTime": 0, "StackStatus": status, **more}]}


def failed(*events: tuple[str, str, str]) -> dict[str, Any]:
    """Events, newest first, as (part, status, reason)."""
    return {
        "StackEvents": [
            {"StackId": "1", "EventId": str(number), "StackName": NAME, "Timestamp": 0,
             "LogicalResourceId": part, "ResourceStatus": status, "ResourceStatusReason": reason}
            for number, (part, status, reason) in enumerate(events)
        ]
    }  # fmt: skip


FAILED = failed(
    ("Other", "CREATE_FAILED", "Resource creation cancelled"),
    ("Store", "CREATE_FAILED", "no such subnet"),
    (NAME, "CREATE_IN_PROGRESS", "User Initiated"),
    ("Queue", "UPDATE_FAILED", "of an earlier run"),
)


def test_it_is_created_and_again_is_up_to_date(moto_cloudformation: Any, said: list[str]) -> None:
    wanted = stack.Stack(NAME, template())
    made = stack.apply(moto_cloudformation, wanted, said.append, 0)
    assert made["Url"].endswith("/one")
    assert said[0] == f"creating the stack {NAME}"
    stack.remove(moto_cloudformation, NAME, said.append, 0)
    stack.remove(moto_cloudformation, NAME, said.append, 0)
    assert said[-2:] == [f"deleting the stack {NAME}", f"there is no stack {NAME}"]
    assert stack.outputs(moto_cloudformation, NAME) == {}


def test_it_is_updated_by_a_change_set(moto_cloudformation: Any, said: list[str]) -> None:
    stack.apply(moto_cloudformation, stack.Stack(NAME, template()), said.append, 0)
    topic: Any = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "new"}}}
    stack.apply(moto_cloudformation, stack.Stack(NAME, template(**topic)), said.append, 0)
    assert f"updating the stack {NAME}" in said[-1]
    assert boto3.client("sns").list_topics()["Topics"]


@pytest.mark.parametrize("status", ["CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"])
def test_one_that_never_came_up_says_why_and_how_to_go_on(
    stubbed: tuple[Any, Stubber], said: list[str], status: str
) -> None:
    client, answers = stubbed
    answers.add_response("describe_stacks", described(status))
    answers.add_response("describe_stack_events", FAILED)
    with pytest.raises(DeployFault, match=f"{status}: Store: no such subnet; .*make destroy"):
        stack.apply(client, stack.Stack(NAME, "{}"), said.append, 0)


def test_one_that_is_half_deleted_is_not_said_to_be_empty(
    stubbed: tuple[Any, Stubber], said: list[str]
) -> None:
    client, answers = stubbed
    answers.add_response("describe_stacks", described("DELETE_FAILED"))
    answers.add_response("describe_stack_events", FAILED)
    with pytest.raises(DeployFault, match=r"half deleted: Store: .* save what is left"):
        stack.apply(client, stack.Stack(NAME, "{}"), said.append, 0)


def test_one_whose_network_is_still_held_says_to_go_on_later(
    stubbed: tuple[Any, Stubber], said: list[str]
) -> None:
    client, answers = stubbed
    held = failed(("SubnetA", "DELETE_FAILED", "The subnet has dependencies"))
    answers.add_response("describe_stacks", described("CREATE_COMPLETE"))
    answers.add_response("delete_stack", {})
    answers.add_response("describe_stacks", described("DELETE_FAILED"))
    answers.add_response("describe_stack_events", held)
    with pytest.raises(DeployFault, match=r"SubnetA: The subnet .*; saying it again later goes on"):
        stack.remove(client, NAME, said.append, 0)


def test_one_whose_rollback_failed_says_how_to_go_on(
    stubbed: tuple[Any, Stubber], said: list[str]
) -> None:
    client, answers = stubbed
    answers.add_response("describe_stacks", described("UPDATE_ROLLBACK_FAILED"))
    answers.add_response("describe_stack_events", FAILED)
    with pytest.raises(DeployFault, match="continue-update-rollback --stack-name seckill-local"):
        stack.apply(client, stack.Stack(NAME, "{}"), said.append, 0)


def _no_changes(answers: Stubber) -> None:
    answers.add_response("create_change_set", {"Id": "c" * 10})
    reason = "The submitted information didn't contain changes."
    answers.add_response("describe_change_set", {"Status": "FAILED", "StatusReason": reason})
    answers.add_response("delete_change_set", {})


def test_work_under_way_is_waited_for(stubbed: tuple[Any, Stubber], said: list[str]) -> None:
    client, answers = stubbed
    part = {"LogicalResourceId": "Store", "ResourceType": "x", "Timestamp": 0,
            "ResourceStatus": "UPDATE_IN_PROGRESS"}  # fmt: skip
    for _ in range(2):
        answers.add_response("describe_stacks", described("UPDATE_IN_PROGRESS"))
        answers.add_response("describe_stack_resources", {"StackResources": [part]})
    answers.add_response("describe_stacks", described("UPDATE_COMPLETE"))
    _no_changes(answers)
    output = {"OutputKey": "TopicArn", "OutputValue": "arn"}
    answers.add_response("describe_stacks", described("UPDATE_COMPLETE", Outputs=[output]))
    got = stack.apply(client, stack.Stack(NAME, "{}"), said.append, 0)
    assert got == {"TopicArn": "arn"}
    assert said == [
        "  UPDATE_IN_PROGRESS: 0 of 1 parts settled", f"the stack {NAME} is up to date",
    ]  # fmt: skip


@pytest.mark.parametrize(("action", "replaces"), [("Modify", "True"), ("Remove", None)])
def test_a_change_that_would_lose_a_table_is_refused(
    stubbed: tuple[Any, Stubber], said: list[str], action: str, replaces: str | None
) -> None:
    client, answers = stubbed
    change = {"Action": action, "LogicalResourceId": "EventsTable",
              "ResourceType": "AWS::DynamoDB::Table"}  # fmt: skip
    change |= {"Replacement": replaces} if replaces else {}
    answers.add_response("describe_stacks", described("CREATE_COMPLETE"))
    answers.add_response("create_change_set", {"Id": "c" * 10})
    changes = [{"Type": "Resource", "ResourceChange": change}]
    answers.add_response("describe_change_set", {"Status": "CREATE_COMPLETE", "Changes": changes})
    answers.add_response("delete_change_set", {})
    with pytest.raises(DeployFault, match="EventsTable with all that is in it; nothing was chang"):
        stack.apply(client, stack.Stack(NAME, "{}"), said.append, 0)


def test_an_update_that_was_rolled_back_says_why(
    stubbed: tuple[Any, Stubber], said: list[str]
) -> None:
    client, answers = stubbed
    answers.add_response("describe_stacks", described("CREATE_COMPLETE"))
    answers.add_response("create_change_set", {"Id": "c" * 10})
    answers.add_response("describe_change_set", {"Status": "CREATE_COMPLETE", "Changes": []})
    answers.add_response("execute_change_set", {})
    answers.add_response("describe_stacks", described("UPDATE_ROLLBACK_COMPLETE"))
    answers.add_response("describe_stack_events", FAILED)
    with pytest.raises(DeployFault, match="UPDATE_ROLLBACK_COMPLETE: Store: no such subnet"):
        stack.apply(client, stack.Stack(NAME, "{}"), said.append, 0)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("ExpiredToken", "credentials have expired"),
        ("ExpiredTokenException", "credentials have expired"),
        ("InvalidClientTokenId", "does not know these credentials"),
        ("AccessDenied", "may not do DescribeStacks"),
        ("Throttling", "Throttling"),
    ],
)
def test_what_aws_refuses_is_one_line(
    stubbed: tuple[Any, Stubber], said: list[str], code: str, says: str
) -> None:
    client, answers = stubbed
    answers.add_client_error("describe_stacks", code, "first line\nsecond line")
    with pytest.raises(DeployFault, match=says) as told:
        stack.apply(client, stack.Stack(NAME, "{}"), said.append, 0)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NoCredentialsError(), "no AWS credentials"),
        (NoRegionError(), "export AWS_DEFAULT_REGION"),
        (EndpointConnectionError(endpoint_url="https://sts.nowhere"), "is the region right"),
    ],
)
def test_what_keeps_us_from_asking_is_one_line(error: Exception, says: str) -> None:
    with pytest.raises(DeployFault, match=says), told_in_one_line():
        raise error
