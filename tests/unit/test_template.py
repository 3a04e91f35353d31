"""The template and the program agree: tables, keys, indexes, queues."""

import re
from typing import Any

import pytest
from chalice.app import SQSEventConfig

import app as entry_points
from chalicelib.projections.active_promotions import ActivePromotionRow
from tests.unit.conftest import TABLES
from tests.unit.template import of_type, present


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    return present("Resources")


@pytest.mark.parametrize("model", TABLES)
def test_a_models_keys_and_indexes_are_those_of_the_template(
    resources: dict[str, Any], model: type[ActivePromotionRow]
) -> None:
    schema = model._get_schema()  # noqa: SLF001 - what create_table would make of the model
    [table] = [
        properties
        for properties in of_type(resources, "AWS::DynamoDB::Table").values()
        if re.sub(r"Sub seckill-\$\{Stage\}", "seckill-local", properties["TableName"])
        == model.Meta.table_name
    ]
    keys = {(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]}
    assert keys == {(k["AttributeName"], k["KeyType"]) for k in schema["key_schema"]}
    assert {i["IndexName"] for i in table.get("GlobalSecondaryIndexes", [])} == {
        i["index_name"] for i in schema["global_secondary_indexes"]
    }


def test_every_consumer_has_its_queue_and_every_queue_a_dlq_and_a_consumer(
    resources: dict[str, Any],
) -> None:
    queues = of_type(resources, "AWS::SQS::Queue")
    names = {queue["QueueName"].replace("Sub seckill-${Stage}-", "") for queue in queues.values()}
    fed = {
        str(config.queue).removeprefix("seckill-local-")
        for config in entry_points.app.event_sources
        if isinstance(config, SQSEventConfig)
    }
    assert names == fed | {f"{name}-dlq" for name in fed}
    assert all("RedrivePolicy" in q for name, q in queues.items() if name.endswith("Queue"))


def test_every_projection_is_subscribed_raw_to_the_topic(resources: dict[str, Any]) -> None:
    subscriptions = of_type(resources, "AWS::SNS::Subscription").values()
    assert {s["Endpoint"] for s in subscriptions} == {
        "GetAtt JournalQueue.Arn", "GetAtt CouponsQueue.Arn", "GetAtt ActivePromotionsQueue.Arn",
    }  # fmt: skip
    assert all(s["RawMessageDelivery"] for s in subscriptions)
