"""A restart or a fail-over of the store: nobody is served before the journal has been compared.

What may have been forgotten is found before the first answer, so nobody is told twice who has
what. A field in the promotion stands for the store's history; tests put another one there, and
one test restarts a real server.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from chalicelib import clients, config, journal
from chalicelib import publisher as publishing
from chalicelib.commands import scripts
from chalicelib.commands.decision import NotOnRecord, Outside, decide
from chalicelib.commands.edit_promotion import (
    RestockPromotion,
    cancel_promotion,
    restock_promotion,
)
from chalicelib.commands.promotions import PromotionRow, copy_from_store
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.commands.sweep import sweep
from chalicelib.commands.wake import wake_promotion
from chalicelib.events import GENERATION, CouponEvent, parse
from chalicelib.projections import coupons
from chalicelib.timers import DOUBT, Timer
from localstack.cloud import store_answers, valkey_command
from localstack.processes import Child, free_port, wait_until
from tests.unit.conftest import Broker, Http, state_of
from tests.unit.test_recover import Live, binary_store, go_back, grab, journal_all, live, snapshot

pytestmark = pytest.mark.store

__all__ = ["binary_store", "live"]


def fail_over(store: Redis, sale: str) -> None:
    """Another server has the promotion now, in a history of its own."""
    store.hset(scripts.key(sale, "promotion"), "history", "of another server")


def test_after_a_failover_that_forgot_nothing_the_sale_goes_on_as_it_was(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=5)
    assert grab(sale, "alice", outside) == "GRANTED"
    journal_all(broker)
    fail_over(store, sale)
    assert {grab(sale, name, outside) for name in ("alice", "bob")} == {"UNKNOWN"}
    assert recover_promotion(sale, outside, repair).outcome == "RESUMED"
    assert recover_promotion(sale, outside, repair).outcome == "HEALTHY"
    assert (grab(sale, "alice", outside), grab(sale, "bob", outside)) == ("REPEATED", "GRANTED")
    assert int(state_of(store, sale)["version"]) < GENERATION


def test_after_a_failover_that_forgot_writes_nobody_loses_a_coupon(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair, binary_store: Redis
) -> None:
    sale = live(stock=5)
    grab(sale, "alice", outside)
    then = snapshot(binary_store, sale)
    grab(sale, "bob", outside)
    journal_all(broker)
    go_back(binary_store, sale, then)
    fail_over(store, sale)
    assert grab(sale, "carol", outside) == "UNKNOWN"
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert {grab(sale, name, outside) for name in ("alice", "bob")} == {"REPEATED"}
    assert grab(sale, "carol", outside) == "GRANTED"
    assert journal.conflicts(sale) == []


def test_it_waits_for_what_was_decided_before(live: Live, store: Redis, outside: Outside) -> None:
    sale = live()
    fail_over(store, sale)
    busy = Repair(lambda _: False, lambda _: None)
    assert recover_promotion(sale, outside, busy).outcome == "WAITING"
    assert grab(sale, "alice", outside) == "UNKNOWN"


def test_a_fence_that_a_snapshot_brought_back_is_put_up_anew(
    live: Live, store: Redis, outside: Outside, repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is over, and functions that decided since it was down may still be publishing."""
    sale = live()
    store.hset(scripts.key(sale, "promotion"), mapping={"recovering": "old", "fenced_at": 1})
    fail_over(store, sale)
    monkeypatch.setenv("SETTLE_S", "60")
    config.settings.cache_clear()
    before = clients.store_clock_ms()
    assert recover_promotion(sale, outside, repair).outcome == "WAITING"
    state = state_of(store, sale)
    assert state["recovering"] != "old"
    assert int(state["fenced_at"]) >= before


def test_a_part_that_was_evicted_is_recovered_whether_or_not_the_store_failed_over(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    for failed_over in (False, True):
        sale = live(stock=5)
        grab(sale, "alice", outside)
        journal_all(broker)
        if failed_over:
            fail_over(store, sale)
        store.delete(scripts.key(sale, "customers"))
        assert grab(sale, "bob", outside) == "UNKNOWN"
        assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
        assert grab(sale, "alice", outside) == "REPEATED"


def test_a_recovery_that_comes_second_leaves_the_fence_of_another_alone(
    live: Live, store: Redis, outside: Outside
) -> None:
    sale = live()
    fail_over(store, sale)
    scripts.run(store, "fence", sale, 0, "first")
    assert scripts.run(store, "resume", sale, "second", 0, 0).outcome == "SUPERSEDED"
    assert grab(sale, "alice", outside) == "UNKNOWN"


def test_after_a_failover_the_next_timer_is_armed_again(
    live: Live, store: Redis, outside: Outside, repair: Repair, armed: list[Timer]
) -> None:
    """The message may be as lost as the writes."""
    sale = live(closes_in_ms=600_000)
    closes_at = int(state_of(store, sale)["closes_at"])
    assert Timer(sale, closes_at) in armed
    armed.clear()
    fail_over(store, sale)
    recover_promotion(sale, outside, repair)
    assert armed == [Timer(sale, closes_at)]


def test_an_edit_that_was_forgotten_is_taken_from_the_table(
    live: Live, store: Redis, outside: Outside, repair: Repair, binary_store: Redis
) -> None:
    """Before the start an edit is no event; the table has it."""
    sale = live(stock=5, opens_in_ms=3_600_000, closes_in_ms=7_200_000)
    then = snapshot(binary_store, sale)
    restock_promotion(RestockPromotion(sale, 3), outside)
    go_back(binary_store, sale, then)
    fail_over(store, sale)
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert state_of(store, sale)["stock"] == "8"
    copy_from_store(sale, store)
    assert PromotionRow.get(sale).number_of_coupons == 8


def test_a_sale_that_is_over_and_retired_answers_its_winners_after_a_failover(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=1)
    grab(sale, "alice", outside)
    journal_all(broker)
    sweep(outside, repair)
    assert PromotionRow.get(sale).live is None
    assert "history" not in state_of(store, sale)
    assert (grab(sale, "alice", outside), grab(sale, "bob", outside)) == ("REPEATED", "SOLD_OUT")


def test_a_real_restart_is_noticed(live: Live, repair: Repair, outside: Outside, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    port = free_port()
    command = valkey_command(port, tmp_path, "--appendonly", "yes")
    server = Child("valkey", command, os.environ, tmp_path)
    url = f"redis://127.0.0.1:{port}/0"
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("REDIS_CLUSTER", "false")
    config.settings.cache_clear()
    clients.store.cache_clear()
    try:
        wait_until(lambda: store_answers(url), "valkey", [server])
        here = replace(outside, store=clients.store(), keep=lambda e: bool(journal.append(e)))
        sale = live(installed=False)
        recover_promotion(sale, here, repair)
        assert grab(sale, "alice", here) == "GRANTED"
        server.signal(signal.SIGKILL)
        server.process.wait()
        server = Child("valkey", command, os.environ, tmp_path)
        wait_until(lambda: store_answers(url), "valkey", [server])
        assert grab(sale, "bob", here) == "UNKNOWN"
        assert recover_promotion(sale, here, repair).outcome == "RESUMED"
        assert (grab(sale, "alice", here), grab(sale, "bob", here)) == ("REPEATED", "GRANTED")
    finally:
        server.stop()


def test_what_neither_broker_nor_journal_took_is_not_told(
    live: Live, broker: Broker, outside: Outside, store: Redis
) -> None:
    sale = live(stock=5)
    broker.away = True
    alone = replace(outside, keep=lambda _: False)
    for _ in range(2):  # asking again must not make it true either
        with pytest.raises(NotOnRecord):
            grab(sale, "alice", alone)
    assert grab(sale, "alice", outside) == "REPEATED"
    broker.away = False
    assert grab(sale, "alice", alone) == "REPEATED"
    assert store.xlen(scripts.key(sale, "outbox")) == 0


def test_a_cancel_or_restock_that_was_not_on_record_is_not_told_when_repeated(
    live: Live, broker: Broker, outside: Outside
) -> None:
    sale = live(stock=5)
    broker.away = True
    alone = replace(outside, keep=lambda _: False)
    more = RestockPromotion(sale, 3, "monday")
    for _ in range(2):
        with pytest.raises(NotOnRecord):
            restock_promotion(more, alone)
    assert restock_promotion(more, outside) == "REPEATED"
    for _ in range(2):
        with pytest.raises(NotOnRecord):
            cancel_promotion(sale, alone)
    assert cancel_promotion(sale, outside) == "CANCELLED"


def test_over_http_it_is_a_503_until_the_tables_are_back(
    http: Callable[..., Http], offer: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer |= {"publishTime": 0}
    sale = http("POST", "/admin/promotions", offer).body["promotionId"]
    journal.EventRow.delete_table()
    monkeypatch.setenv("TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:gone")
    config.settings.cache_clear()
    publishing.publisher.cache_clear()
    body = {"promotionId": sale, "customerId": "alice"}
    answer = http("POST", "/command/coupons", body)
    assert (answer.status, answer.body["code"]) == (503, "QUEUE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"
    journal.EventRow.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
    assert http("POST", "/command/coupons", body).status == 200
    assert [event.type for event in journal.read(sale)] == ["CouponGrabbed"]


def test_a_coupon_that_only_the_tables_know_is_restored_for_its_payer(
    http: Callable[..., Http], offer: dict[str, object], store: Redis
) -> None:
    offer |= {"publishTime": 0, "holdSeconds": 60}
    sale = http("POST", "/admin/promotions", offer).body["promotionId"]
    http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    url = clients.sqs().get_queue_url(QueueName="seckill-local-coupons")["QueueUrl"]
    for message in clients.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]:
        coupons.on_event(parse(message["Body"]))
    store.hdel(scripts.key(sale, "customers"), "alice")
    store.hset(scripts.key(sale, "customers"), "somebody", "9 9 9 R")
    path = f"/command/coupons/{sale}-1/payment"
    answer = http("POST", path, {"customerId": "alice"})
    assert (answer.status, answer.body["state"]) == (200, "PAID")
    again = http("POST", path, {"customerId": "alice"})
    assert (again.status, again.body) == (200, answer.body)
    stranger = http("POST", path, {"customerId": "mallory"})
    assert (stranger.status, stranger.body["code"]) == (404, "UNKNOWN_COUPON")


def test_a_doubt_has_the_promotion_compared_at_once(
    live: Live, broker: Broker, outside: Outside, repair: Repair, binary_store: Redis
) -> None:
    sale = live(stock=5)
    then = snapshot(binary_store, sale)
    grab(sale, "alice", outside)
    journal_all(broker)
    go_back(binary_store, sale, then)
    assert wake_promotion(Timer(sale, 1), outside, repair) == "ON_SALE"
    assert wake_promotion(Timer(sale, DOUBT), outside, repair) == "RECOVERED"
    assert decide(outside, "advance", sale).outcome == "ON_SALE"


def test_a_hold_whose_release_was_lost_does_not_cost_the_next_owner_the_unit(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    """One unit: alice's hold ended, bob has it now; the event of the release is nowhere."""
    sale = live(stock=1, hold_seconds=600)
    grab(sale, "alice", outside)
    decide(outside, "give_back", sale, "alice", 1)
    grab(sale, "bob", outside)
    for event in broker.published:
        if isinstance(event, CouponEvent) and event.customer_id == "alice":
            event = replace(event, deadline=1)  # noqa: PLW2901
        if event.type != "CouponReleased":
            journal.append(event)
    store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))
    recover_promotion(sale, outside, repair)
    assert grab(sale, "bob", outside) == "REPEATED"
    assert decide(outside, "pay", sale, "alice", 1, "late").outcome == "REVOKED"


def test_a_slow_recovery_finds_its_fence_gone_also_when_a_snapshot_brings_it_back(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair, binary_store: Redis
) -> None:
    """Two go on with one fence; the first is done and the sale goes on before the second is."""
    sale = live(stock=5)
    grab(sale, "alice", outside)
    journal_all(broker)
    store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))
    fence = scripts.run(store, "fence", sale, 0, "both of them")
    then = snapshot(binary_store, sale)
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    go_back(binary_store, sale, then)
    fail_over(store, sale)
    keys = [scripts.key(sale, part) for part in scripts.PARTS]
    built = [f"{key}:mine" for key in keys]
    store.hset(built[0], "state", "built before the sale went on")
    install = scripts.script(store, "recover")
    assert install(keys=[*keys, *built], args=[sale, fence.detail["token"]])[0] == "SUPERSEDED"
    late = scripts.run(store, "resume", sale, fence.detail["token"], 0, 0)
    assert late.outcome == "SUPERSEDED"
    assert grab(sale, "bob", outside) == "UNKNOWN"
