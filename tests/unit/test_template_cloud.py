"""What only the cloud has: who may do what, what is watched, and what is told to the outside."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chalice.app import SQSEventConfig

import app as entry_points
from infra import scan
from infra.stack import TEMPLATE, WATCH
from tests.unit.template import load, of_type, present

CHALICELIB = Path(entry_points.__file__).parent / "chalicelib"
# What CloudFormation takes without a bucket to put it into first.
MOST_BYTES = 51_200


def in_cloud(kind: str = "node") -> dict[str, Any]:
    return present("Resources", Cloud="true", StoreKind=kind) | watching(kind)


def watching(kind: str = "node") -> dict[str, Any]:
    return present("Resources", WATCH, StoreKind=kind, AlarmEmail="ops@example.com")


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """All mappings in `value`."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from walk(part)
    if isinstance(value, list):
        for part in value:
            yield from walk(part)


def alarms() -> dict[str, Any]:
    return of_type(load(WATCH)["Resources"], "AWS::CloudWatch::Alarm")


def watched() -> set[tuple[str, str, str, str]]:
    """(alarm, namespace, metric, value of its first dimension)."""
    return {
        (name, metric["Namespace"], metric["MetricName"], metric["Dimensions"][0]["Value"])
        for name, alarm in alarms().items()
        for metric in walk(alarm)
        if "MetricName" in metric
    }


def widgets() -> list[dict[str, Any]]:
    dashboard = load(WATCH)["Resources"]["Dashboard"]["Properties"]["DashboardBody"]
    text = dashboard.removeprefix("Sub ")
    found: list[dict[str, Any]] = json.loads(text)["widgets"]
    return [widget["properties"] for widget in found]


def emitted() -> set[str]:
    """The names of all metrics the program tells, as its source has them."""
    names: set[str] = set()
    for file in CHALICELIB.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            called = ast.unparse(call.func)
            texts = {
                part.value
                for part in ast.walk(call.args[0])
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            }
            if called.startswith("telemetry."):
                names |= texts
            if called == "_outage":
                names |= {text.lower() for text in texts}
    return names


def test_an_emulator_gets_topic_queues_and_tables_and_nothing_else() -> None:
    local = present("Resources", Stage="local")
    assert {resource["Type"] for resource in local.values()} == {
        "AWS::SNS::Topic", "AWS::SNS::Subscription", "AWS::SQS::Queue", "AWS::SQS::QueuePolicy",
        "AWS::DynamoDB::Table",
    }  # fmt: skip
    assert len(of_type(local, "AWS::SNS::Topic")) == 1
    assert set(present("Outputs", Stage="local")) == {
        "TopicArn", "EventsQueueUrl", "TimersQueueUrl",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "store"),
    [
        ("node", "AWS::ElastiCache::ReplicationGroup"),
        ("serverless", "AWS::ElastiCache::Serverless"),
    ],
)
def test_the_cloud_has_one_store_of_the_wanted_kind_and_its_alarms(kind: str, store: str) -> None:
    resources = in_cloud(kind)
    [found] = [r["Type"] for r in resources.values() if r["Type"].startswith(
        ("AWS::ElastiCache::R", "AWS::ElastiCache::Serverless"))]  # fmt: skip
    assert found.startswith(store)
    about_store = [
        name
        for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items()
        if "AWS/ElastiCache" in str(alarm)
    ]
    assert len(about_store) == 2


@pytest.mark.parametrize("path", [TEMPLATE, WATCH])
def test_what_exists_refers_only_to_what_exists(path: Path) -> None:
    names = set(load(path)["Resources"])
    for kind in ("node", "serverless"):
        cloud = {"Cloud": "true", "AlarmEmail": "ops@example.com"}
        resources = present("Resources", path, StoreKind=kind, **cloud)
        # What a condition chooses between is judged by cfn-lint.
        text = re.sub(r"\{'Fn::If': .*?\]\}", "", str(resources))
        used = set(re.findall(r"(?:Ref |GetAtt |\$\{)(\w+)", text)) & names
        assert used <= set(resources)


def test_production_and_the_stage_prod_are_protected_from_deletion() -> None:
    resources = load()["Resources"]
    for table in of_type(resources, "AWS::DynamoDB::Table").values():
        assert table["DeletionProtectionEnabled"] == {"Fn::If": ["InProduction", True, False]}
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert load()["Conditions"]["InProduction"] == {
        "Fn::Or": [
            {"Fn::Equals": ["Ref Stage", "prod"]},
            {"Fn::Equals": ["Ref Production", "true"]},
        ]
    }


def test_nobody_is_allowed_anything_without_a_condition() -> None:
    statements = [
        statement
        for resource in in_cloud().values()
        for statement in walk(resource)
        if "Effect" in statement
    ]
    assert len(statements) >= 8
    open_to_all = [s for s in statements if "*" in str(s.get("Principal"))]
    assert [s for s in open_to_all if not s.get("Condition")] == []
    assert [s for s in statements if s["Effect"] == "Allow" and s["Resource"] == "*"] == []


def test_nothing_is_reachable_but_by_functions() -> None:
    groups = of_type(in_cloud(), "AWS::EC2::SecurityGroup")
    rules = {name: group.get("SecurityGroupIngress", []) for name, group in groups.items()}
    assert rules.pop("FunctionsGroup") == []
    assert {(name, r["FromPort"], r["ToPort"]) for name, [r] in rules.items()} == {
        ("StoreGroup", 6379, 6379), ("EndpointsGroup", 443, 443),
    }  # fmt: skip
    assert {r["SourceSecurityGroupId"] for [r] in rules.values()} == {"Ref FunctionsGroup"}
    kinds = {resource["Type"] for resource in in_cloud().values()}
    assert not kinds & {"AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route"}


def test_the_zones_may_be_chosen_and_are_else_the_accounts_first_two() -> None:
    """The first two may be ones that Lambda does not know."""
    subnets = of_type(in_cloud(), "AWS::EC2::Subnet")
    chosen = {"Fn::Split": [",", "Ref Zones"]}
    where = {"Fn::If": ["ZonesAreChosen", chosen, "GetAZs "]}
    assert [subnets[name]["AvailabilityZone"] for name in ("SubnetA", "SubnetB")] == [
        {"Fn::Select": [0, where]}, {"Fn::Select": [1, where]},
    ]  # fmt: skip
    assert load()["Conditions"]["ZonesAreChosen"] == {
        "Fn::Not": [{"Fn::Equals": ["Ref Zones", ""]}]
    }
    spec = load()["Parameters"]["Zones"]
    for zones in (spec["Default"], "eu-west-1b,eu-west-1c", "us-west-2-lax-1a,us-west-2a"):
        assert re.fullmatch(spec["AllowedPattern"], zones)
    for zones in ("eu-west-1b", "eu-west-1a,eu-west-1b,eu-west-1c", "eu-west-1b, eu-west-1c"):
        assert not re.fullmatch(spec["AllowedPattern"], zones)


def test_a_full_store_refuses_instead_of_forgetting() -> None:
    [settings] = of_type(in_cloud(), "AWS::ElastiCache::ParameterGroup").values()
    assert settings["Properties"]["maxmemory-policy"] == "noeviction"
    [store] = of_type(in_cloud(), "AWS::ElastiCache::ReplicationGroup").values()
    assert store["CacheParameterGroupName"] == "Ref StoreSettings"
    for wanted in ("MultiAZEnabled", "AutomaticFailoverEnabled", "TransitEncryptionEnabled",
                   "AtRestEncryptionEnabled"):  # fmt: skip
        assert store[wanted] is True


def test_alarms_are_about_functions_that_exist_and_all_that_run_by_themselves_are_watched() -> None:
    stage = "Sub seckill-${Stage}"
    functions = {
        value.removeprefix(stage).removeprefix("-")
        for _, space, _, value in watched()
        if space == "AWS/Lambda"
    }
    called_by_hand = {handler.name for handler in entry_points.app.pure_lambda_functions}
    by_themselves = {source.name for source in entry_points.app.event_sources}
    assert called_by_hand == {"recover", "reconcile", "rebuild"}
    assert functions == {"", *by_themselves}
    for metric in ("Errors", "Throttles"):
        of_metric = {value for _, _, name, value in watched() if name == metric}
        assert len(of_metric) == len(functions), metric


def test_every_dead_letter_queue_has_its_alarm() -> None:
    queues = of_type(load()["Resources"], "AWS::SQS::Queue")
    dead = {queue["QueueName"] for name, queue in queues.items() if name.endswith("DeadLetters")}
    assert {value for _, space, _, value in watched() if space == "AWS/SQS"} == dead
    assert len(dead) == len([c for c in entry_points.app.event_sources if isinstance(
        c, SQSEventConfig)])  # fmt: skip


def test_alarms_and_dashboard_show_metrics_that_the_program_tells() -> None:
    alarmed = {metric for _, space, metric, _ in watched() if space == "seckill"}
    assert {value for _, space, _, value in watched() if space == "seckill"} == {
        "Sub seckill-${Stage}"
    }
    assert {"outbox_age", "journal_conflict"} <= alarmed
    shown = {m[1] for widget in widgets() for m in widget["metrics"] if m[0] == "seckill"}
    shown |= set(re.findall(r'MetricName=\\?"(\w+)', json.dumps(widgets()).replace('\\"', '"')))
    assert {"grabs", "sold", "held", "available", "time_to_visible", "outbox_age"} <= shown
    assert (alarmed | shown) - emitted() == set()


def test_the_dashboard_shows_every_queue() -> None:
    queues = of_type(load()["Resources"], "AWS::SQS::Queue").values()
    [shown] = [w["metrics"] for w in widgets() if w["metrics"][0][0] == "AWS/SQS"]
    assert {metric[-1] for metric in shown} == {
        queue["QueueName"].removeprefix("Sub ") for queue in queues
    }


def test_every_alarm_is_told_and_no_alarm_asks_for_more_metrics_than_it_may() -> None:
    for name, alarm in alarms().items():
        assert alarm["AlarmActions"] == ["Ref AlarmTopic"], name
        assert len(alarm.get("Metrics", [])) <= 11, name  # ten, and the expression
        assert alarm["AlarmName"].startswith("Sub seckill-${Stage}-"), name  # the topic's policy


def test_api_alarms_have_the_names_that_chalice_gives() -> None:
    config = json.loads((CHALICELIB.parent / ".chalice" / "config.json").read_text())
    parameters = load(WATCH)["Parameters"]
    assert parameters["ApiName"]["Default"] == entry_points.app.app_name
    assert parameters["ApiStage"]["Default"] == config["api_gateway_stage"]


def test_outputs_have_what_a_deployment_needs_and_no_secret() -> None:
    outputs = present("Outputs", Cloud="true")
    assert {
        "TopicArn", "EventsQueueUrl", "TimersQueueUrl", "RedisUrl", "RedisCluster", "SubnetIds",
        "SecurityGroupId", "UserPoolArn", "UserPoolId", "UserPoolClientId", "WebAclArn",
    } <= set(outputs)  # fmt: skip
    text = str(outputs)
    assert not re.search(r"(?i)password|authtoken|clientsecret|resolve:|secretsmanager", text)
    assert not re.search(r"rediss?://[^/$]*@", text)
    assert re.findall(r"redis\w*://", text) == ["rediss://"] * 2
    assert load()["Resources"]["UserPoolClient"]["Properties"]["GenerateSecret"] is False


@pytest.mark.parametrize("path", [TEMPLATE, WATCH])
def test_a_template_is_small_enough_to_be_sent_as_it_is(path: Path) -> None:
    assert len(path.read_bytes()) < MOST_BYTES


def test_both_templates_mean_the_same_by_a_parameter() -> None:
    there, here = (load(path)["Parameters"] for path in (TEMPLATE, WATCH))
    shared = set(there) & set(here)
    assert shared == {"Stage", "StoreKind", "StoreMaximumGigabytes"}
    assert {name: here[name] for name in shared} == {name: there[name] for name in shared}


@pytest.mark.parametrize(("kind", "nodes"), [("node", 4), ("serverless", 2)])
def test_the_stores_alarms_are_about_the_store_that_the_template_names(
    kind: str, nodes: int
) -> None:
    resources = in_cloud(kind)
    [name] = [
        properties.get("ReplicationGroupId") or properties["ServerlessCacheName"]
        for resource in resources.values()
        if resource["Type"].startswith(("AWS::ElastiCache::Re", "AWS::ElastiCache::Serverless"))
        for properties in [resource["Properties"]]
    ]
    told = [
        dimension["Value"]
        for alarm in of_type(resources, "AWS::CloudWatch::Alarm").values()
        for metric in walk(alarm)
        if metric.get("Namespace") == "AWS/ElastiCache"
        for dimension in metric["Dimensions"]
    ]
    assert len(told) == nodes
    suffixes = {"-001", "-002"} if kind == "node" else {""}
    assert set(told) == {f"{name}{suffix}" for suffix in suffixes}


def test_the_scan_sees_the_cloud() -> None:
    seen: dict[str, set[str]] = {}
    for (name, kind), defaults in scan.SCANNED.items():
        whole = (scan.ROOT / "infra" / f"{name}.yaml").read_text()
        text = scan.variant(whole, defaults)
        changed = {
            (old.strip(), new.strip())
            for old, new in zip(whole.splitlines(), text.splitlines(), strict=True)
            if old != new
        }
        seen.setdefault(name, set()).add(kind)
        switch = ('Default: ""', "Default: ops@example.com")
        if name == "template":
            switch = ('Default: "false"', 'Default: "true"')
        assert switch in changed
        assert len(changed) == (1 if kind == "node" else 2)
    assert seen == {"template": {"node", "serverless"}, "watch": {"node", "serverless"}}
    with pytest.raises(LookupError):
        scan.variant(TEMPLATE.read_text(), {"Clouds": "true"})


def test_a_scan_that_finds_something_or_looks_at_nothing_fails() -> None:
    clean = {"results": {"failed_checks": []}, "summary": {"passed": 3, "parsing_errors": 0}}
    assert scan.verdict(clean)[0] == 0
    finding = {"check_id": "CKV_1", "resource": "Store", "file_line_range": [7, 9],
               "check_name": "Encrypt"}  # fmt: skip
    code, text = scan.verdict({**clean, "results": {"failed_checks": [finding]}})
    assert (code, text.splitlines()[0]) == (1, "CKV_1 Store, line 7: Encrypt")
    assert scan.verdict({"passed": 0, "failed": 0})[0] == 1
    assert scan.verdict({**clean, "summary": {"passed": 3, "parsing_errors": 1}})[0] == 1
