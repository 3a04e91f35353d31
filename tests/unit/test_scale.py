"""The arithmetic of docs/scaling.md, and that the page shows what it gives."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from bench import scale, scale_inputs
from bench.scale_inputs import (
    API_GB,
    ASSUMED,
    CONSUMER_GB,
    LIMITS,
    MEASURED,
    PRICES,
    ROWS,
    SOURCES,
)
from bench.scale_tables import PAGE, TABLES, filled, tables_in
from chalicelib.commands.over import MOST_CUSTOMERS
from localstack.cloud import ROOT

SMALL, MILLION, HUGE = 10_000, 1_000_000, 100_000_000


def test_the_page_shows_what_the_program_prints() -> None:
    page = PAGE.read_text()
    assert filled(page, MEASURED) == page, "python -m bench.scale_tables --write"


def test_the_prose_says_what_the_tables_say() -> None:
    prose = " ".join(PAGE.read_text().split())
    peak, shard = scale.peak_per_s(MILLION), scale.shard_per_s(MEASURED)
    ten_minutes = scale.admitted_per_s(HUGE) / 10
    assert f"{peak:,.0f} a second come, and {shard:,.0f} are" in prose
    assert f"sees {ten_minutes:,.0f} a second and three shards" in prose
    assert scale.slices(MEASURED, ten_minutes) == 3
    assert f"the {scale.journaled_s(HUGE):,.0f} seconds of the last column".lower() in prose.lower()


def test_the_page_has_every_table_once() -> None:
    assert sorted(tables_in(PAGE.read_text())) == sorted(TABLES)


def test_every_input_has_a_source_and_every_measured_one_a_row() -> None:
    named = [one.name for group in (ASSUMED, LIMITS, PRICES) for one in fields(group)]
    assert sorted(SOURCES) == sorted(named)
    assert sorted([*ROWS, "cores"]) == sorted(one.name for one in fields(MEASURED))


def test_measured_inputs_are_read_from_what_the_bench_writes(tmp_path: Path) -> None:
    rows = [{"name": name, "value": number} for number, name in enumerate(ROWS.values(), 1)]
    result = tmp_path / "bench.json"
    result.write_text(json.dumps({"machine": {"cpus": 8}, "rows": rows}))
    measured = scale_inputs.read(result)
    assert (measured.shard_winners_per_s, measured.cores) == (1, 8)
    result.write_text(json.dumps({"machine": {"cpus": 8}, "rows": rows[1:]}))
    with pytest.raises(KeyError, match=next(iter(ROWS.values()))):
        scale_inputs.read(result)


def test_memory_is_that_of_the_deployed_functions() -> None:
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    functions = config["stages"]["prod"]["lambda_functions"]
    assert config["lambda_memory_size"] == API_GB * 1024
    assert functions["project_journal"]["lambda_memory_size"] == CONSUMER_GB * 1024


def test_a_million_ask_for_a_twelfth_of_them_in_a_second() -> None:
    assert scale.peak_per_s(MILLION) == pytest.approx(83_333.33, abs=0.01)
    assert scale.environments(scale.peak_per_s(MILLION)) == 8_334
    assert scale.scaling_s(10_000) == 0
    assert scale.scaling_s(20_000) == 10


def test_the_default_quota_lets_605_000_in_within_a_minute() -> None:
    assert scale.by_default(MILLION) == pytest.approx(0.605)
    assert scale.by_default(SMALL) == 1


def test_a_promotion_sells_as_fast_as_its_crowd_comes_or_its_shard_goes() -> None:
    fast = replace(MEASURED, shard_winners_per_s=1e9)
    slow = replace(MEASURED, shard_winners_per_s=200)  # of which half is trusted
    assert scale.sold_out_s(fast, MILLION) == pytest.approx(0.12)
    assert scale.sold_out_s(slow, MILLION) == 100
    assert scale.slices(slow, 1_000) == 10
    assert scale.winners_per_s(fast, SMALL) == 100  # there are no more


def test_losers_ask_once_per_environment_and_second_where_there_are_marks() -> None:
    assert scale.asking(SMALL) == 84 * 60
    assert scale.asking(HUGE) == HUGE - scale.winners(HUGE)
    assert scale.winners(HUGE) > MOST_CUSTOMERS


def test_names_are_fetched_once_by_each_environment_and_not_where_there_are_no_marks() -> None:
    measured = replace(MEASURED, names_us=1_000, names_bytes=1e6)
    assert scale.names_s(measured, MILLION) == pytest.approx(8.334)
    assert scale.names_gb(measured, MILLION) == pytest.approx(8.334)
    assert scale.names_s(measured, HUGE) == scale.names_gb(measured, HUGE) == 0


def test_a_loser_is_billed_for_its_share_of_a_core_and_for_what_it_waits() -> None:
    measured = replace(MEASURED, told_per_s=2_000, asking_per_s=1_000, cores=2)
    assert scale.billed_ms(measured, "told") == 2  # 1 ms of a core, at 0.58 of one
    assert scale.billed_ms(measured, "asking") == 6  # 2 ms of a core, two trips
    assert scale.billed_ms(measured, "wins") == 21  # and the topic


def test_a_million_grabs_cost_what_their_parts_cost() -> None:
    costs = scale.costs(MEASURED, MILLION)
    assert costs["API Gateway, REST"] == 3.5
    assert costs["Lambda, invocations"] == pytest.approx(0.2)
    assert costs["traces"] == pytest.approx(0.25)
    assert costs["data out"] == pytest.approx(0.09)
    assert scale.per_million(MEASURED, MILLION) == pytest.approx(sum(costs.values()))


def test_a_winner_costs_a_publish_three_queues_three_calls_and_five_writes() -> None:
    million = 0.5 + 6 * 0.4 + 3 * 0.2 + 5 * 0.625 + 60_000 * 0.5 * 0.0000166667
    assert scale.winner_dollars() * MILLION == pytest.approx(million)


def test_each_door_is_cheaper_than_the_one_before() -> None:
    prices = list(scale.doors(MEASURED).values())
    assert prices == sorted(prices, reverse=True)


def test_hours_and_months() -> None:
    assert scale.provisioned_per_hour(10_000) == pytest.approx(15.0, abs=0.01)
    assert scale.accounts_dollars(SMALL) == 0
    assert scale.accounts_dollars(MILLION) == pytest.approx(14_850)
    assert scale.journaled_s(MILLION) == 10
    assert scale.sign_ins_per_s(HUGE) == pytest.approx(27_777.8, abs=0.1)
