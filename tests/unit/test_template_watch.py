"""What watches a stage: alarms and the dashboard, and that what they look at exists."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from chalice.app import SQSEventConfig

import app as entry_points
from infra.stack import WATCH
from tests.unit.template import in_cloud, load, of_type, walk

CHALICELIB = Path(entry_points.__file__).parent / "chalicelib"


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
    assert {"grabs", "grab_ms", "sold", "held", "time_to_visible", "outbox_age"} <= shown
    assert (alarmed | shown) - emitted() == set()


def test_the_dashboard_shows_how_long_grabs_take_and_not_only_all_routes() -> None:
    asked = [
        metric[0]["expression"]
        for widget in widgets()
        for metric in widget["metrics"]
        if "grab_ms" in str(metric)
    ]
    assert [re.findall(r"'(p\d+)', 60", text) for text in asked] == [["p50"], ["p99"]]


def test_the_dashboard_shows_what_the_web_acl_refused() -> None:
    [acl] = of_type(in_cloud(), "AWS::WAFv2::WebACL").values()
    reported = acl["VisibilityConfig"]
    assert reported["CloudWatchMetricsEnabled"] is True
    [shown] = [w["metrics"] for w in widgets() if w["metrics"][0][0] == "AWS/WAFV2"]
    name = reported["MetricName"].removeprefix("Sub ")
    where = ["WebACL", name, "Region", "${AWS::Region}", "Rule", "ALL"]
    assert shown == [["AWS/WAFV2", "BlockedRequests", *where, {"stat": "Sum"}]]


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
