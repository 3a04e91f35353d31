"""Both brokers take our events; what they do not take is told, and nothing is hidden."""

import json
from typing import Any

import boto3
import pytest
from botocore.config import Config

from chalicelib import clients, config
from chalicelib import publisher as publishing
from chalicelib.events import AnyEvent, CouponGrabbed, from_mapping
from chalicelib.publisher import BrokerUnavailable, EventPublisher, SnsPublisher, SqsPublisher


def grabbed(version: int) -> AnyEvent:
    return from_mapping(
        {
            "type": "CouponGrabbed",
            "promotionId": "sale",
            "version": version,
            "at": 1_700_000_000_123,
            "stock": 9,
            "available": 8,
            "held": 0,
            "sold": 1,
            "customerId": "ålice",
            "grabbedAt": 1_700_000_000_123,
            "number": 1,
            "discount": "0.15",
        }
    )


def received(queue: str) -> list[str]:
    url = clients.sqs().get_queue_url(QueueName=f"seckill-local-{queue}")["QueueUrl"]
    got = clients.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [message["Body"] for message in got.get("Messages", [])]


@pytest.mark.parametrize(
    ("chosen", "queues"),
    [("sns", ["journal", "coupons", "active-promotions"]), ("sqs", ["events"])],
)
def test_the_setting_chooses_the_broker_and_the_body_is_our_json(
    aws: None, monkeypatch: pytest.MonkeyPatch, chosen: str, queues: list[str]
) -> None:
    monkeypatch.setenv("PUBLISHER", chosen)
    config.settings.cache_clear()
    publishing.publisher.cache_clear()
    events = [grabbed(1), grabbed(2)]
    assert publishing.publisher().publish(events) == events
    for queue in queues:
        bodies = received(queue)
        assert bodies == [event.to_wire() for event in events]
        assert json.loads(bodies[0])["customerId"] == "ålice"


def test_a_message_attribute_names_the_type_for_the_filters(aws: None) -> None:
    sent = []
    sns = boto3.client("sns")
    sns.meta.events.register(
        "before-parameter-build.sns.PublishBatch", lambda params, **_: sent.append(params)
    )
    SnsPublisher(sns, config.settings().topic_arn).publish([grabbed(1)])
    attributes = sent[0]["PublishBatchRequestEntries"][0]["MessageAttributes"]
    assert attributes == {"type": {"DataType": "String", "StringValue": "CouponGrabbed"}}


@pytest.mark.parametrize("publisher", ["sns", "sqs"])
def test_a_broker_that_refuses_connections_is_unavailable(publisher: str) -> None:
    once = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    nobody: Any = {"endpoint_url": "http://127.0.0.1:9", "config": once}
    broker: EventPublisher
    if publisher == "sns":
        broker = SnsPublisher(boto3.client("sns", **nobody), "arn:aws:sns:us-east-1:1:topic")
    else:
        broker = SqsPublisher(boto3.client("sqs", **nobody), "http://127.0.0.1:9/1/queue")
    with pytest.raises(BrokerUnavailable):
        broker.publish([grabbed(1)])


@pytest.mark.parametrize("publisher", ["sns", "sqs"])
def test_a_broker_that_does_not_know_the_target_is_unavailable(aws: None, publisher: str) -> None:
    gone: EventPublisher
    if publisher == "sns":
        gone = SnsPublisher(clients.sns(), "arn:aws:sns:us-east-1:123456789012:gone")
    else:
        gone = SqsPublisher(clients.sqs(), "https://sqs.us-east-1.amazonaws.com/123456789012/gone")
    with pytest.raises(BrokerUnavailable):
        gone.publish([grabbed(1)])


def test_an_event_survives_the_wire() -> None:
    event = grabbed(3)
    assert isinstance(event, CouponGrabbed)
    assert from_mapping(json.loads(event.to_wire())) == event
