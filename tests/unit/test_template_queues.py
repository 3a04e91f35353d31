"""The queues' own rules: encrypted, over TLS only, and each with a policy of its own."""

from typing import Any

import pytest

from tests.unit.template import of_type, present

SUBSCRIBERS = ("JournalQueue", "CouponsQueue", "ActivePromotionsQueue")


def queues_and_policies(cloud: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    resources = present("Resources", Cloud=cloud)
    policies = of_type(resources, "AWS::SQS::QueuePolicy")
    return of_type(resources, "AWS::SQS::Queue"), list(policies.values())


def statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    """All statements of a queue's policy, those of the cloud too."""
    return [
        statement["Fn::If"][1] if "Fn::If" in statement else statement
        for statement in policy["PolicyDocument"]["Statement"]
    ]


@pytest.mark.parametrize("cloud", ["true", "false"])
def test_a_policy_is_about_one_queue_and_names_nothing_else(cloud: str) -> None:
    """SQS may refuse another queue, or a wildcard, as an invalid value."""
    queues, policies = queues_and_policies(cloud)
    covered = [queue.removeprefix("Ref ") for policy in policies for queue in policy["Queues"]]
    # A queue's second policy would replace its first.
    assert sorted(covered) == sorted(queues if cloud == "true" else SUBSCRIBERS)
    for policy in policies:
        [queue] = policy["Queues"]
        own = f"GetAtt {queue.removeprefix('Ref ')}.Arn"
        assert [s["Resource"] for s in statements(policy)] == [own] * len(statements(policy))


def test_every_queue_is_encrypted_and_refuses_plain_http() -> None:
    queues, policies = queues_and_policies("true")
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    for policy in policies:
        [denied] = [s for s in statements(policy) if s["Effect"] == "Deny"]
        assert (denied["Principal"], denied["Action"]) == ("*", "sqs:*")
        assert denied["Condition"] == plain


def test_only_the_topic_is_let_in_and_only_where_it_has_a_subscriber() -> None:
    _, policies = queues_and_policies("true")
    let_in = {
        policy["Queues"][0].removeprefix("Ref "): statement
        for policy in policies
        for statement in statements(policy)
        if statement["Effect"] == "Allow"
    }
    assert set(let_in) == set(SUBSCRIBERS)
    for statement in let_in.values():
        assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": "Ref Topic"}}
