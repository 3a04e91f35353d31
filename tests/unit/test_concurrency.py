"""How many functions run at once: a crowd must not take from consumers, timers and who pays."""

import re
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from chalice.app import SQSEventConfig

import app as entry_points
from infra import choices, quota, stage
from infra.choices import CHOICES, Choices, Limit
from infra.faults import DeployFault
from infra.policies import STAGES
from tests.unit.template import load

CONSUMERS = {
    source.name: source
    for source in entry_points.app.event_sources
    if isinstance(source, SQSEventConfig)
}
BY_THEMSELVES = {source.name for source in entry_points.app.event_sources}


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return stage.read()


def reserved(config: dict[str, Any], name: str) -> dict[str, int]:
    functions = config["stages"][name]["lambda_functions"]
    return {
        function: own["reserved_concurrency"]
        for function, own in functions.items()
        if "reserved_concurrency" in own
    }


def test_in_production_whatever_runs_by_itself_has_its_room(config: dict[str, Any]) -> None:
    assert set(reserved(config, "prod")) == BY_THEMSELVES
    assert reserved(config, "prod")["sweep"] == 1


def test_other_stages_reserve_nothing_so_that_a_new_account_takes_them(
    config: dict[str, Any],
) -> None:
    assert {name for name in STAGES if reserved(config, name)} == {"prod"}


@pytest.mark.parametrize("name", STAGES)
def test_no_queue_is_read_faster_than_its_consumer_may_run(
    config: dict[str, Any], name: str
) -> None:
    """Lambda would throttle the rest, and a throttled message counts as one that failed."""
    for consumer, source in CONSUMERS.items():
        kept = reserved(config, name).get(consumer, choices.ACCOUNT_FUNCTIONS)
        assert source.maximum_concurrency is not None, consumer
        assert 2 <= source.maximum_concurrency <= kept, consumer


def test_a_crowd_and_who_pays_and_what_is_reserved_run_in_an_account_as_it_comes(
    config: dict[str, Any],
) -> None:
    kept = quota.reserved(config, "prod")
    assert kept == sum(reserved(config, "prod").values())
    assert CHOICES["prod"].functions >= choices.LEFT_TO_OTHERS
    assert kept + CHOICES["prod"].functions <= choices.ACCOUNT_FUNCTIONS
    assert kept <= choices.ACCOUNT_FUNCTIONS - choices.LEFT_TO_OTHERS


def test_functions_are_needed_for_who_comes_at_once_and_who_comes_meanwhile() -> None:
    assert Limit(per_second=1_000, at_once=60).functions == 60 + 50
    assert Limit(per_second=1_000, at_once=10).functions == 100  # ten a second each, at most
    two_lanes = Choices(crowd=Limit(100, 10), paying=Limit(20, 1))
    assert two_lanes.functions == 15 + 2 * 2


def test_a_message_outlives_a_quarter_of_an_hour_without_its_table() -> None:
    parameters = load()["Parameters"]
    rests_s = parameters["VisibilitySeconds"]["Default"] * parameters["MaxReceiveCount"]["Default"]
    assert rests_s >= 15 * 60


def ask(config: dict[str, Any], name: str, may: int) -> list[str]:
    """What is said to an account that may run `may` functions."""
    client, said = boto3.client("lambda"), list[str]()
    with Stubber(client) as answers:
        limit = {"AccountLimit": {"ConcurrentExecutions": may}}
        answers.add_response("get_account_settings", limit)
        quota.require(client, config, name, said.append)
        answers.assert_no_pending_responses()
    return said


def test_an_account_that_runs_too_few_functions_gets_no_production(config: dict[str, Any]) -> None:
    wanted = CHOICES["prod"].functions + quota.reserved(config, "prod")
    assert ask(config, "prod", wanted) == []
    with pytest.raises(DeployFault, match=f"prod needs {wanted} .* runs {wanted - 1} for") as told:
        ask(config, "prod", wanted - 1)
    assert "\n" not in str(told.value)


def test_what_must_stay_unreserved_is_needed_too(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"prod": Choices(crowd=Limit(10, 1), paying=Limit(1, 1))}
    monkeypatch.setattr(choices, "CHOICES", few)
    with pytest.raises(DeployFault, match=f"needs {quota.reserved(config, 'prod') + 100} "):
        ask(config, "prod", 100)


def test_a_new_account_is_told_and_may_try_it_out(config: dict[str, Any]) -> None:
    [line] = ask(config, "dev", 10)
    assert re.fullmatch(r"dev may need \d+ functions at once; this account runs 10", line)
    assert ask(config, "dev", 1_000) == []
