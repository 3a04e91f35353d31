"""A doubt about a state that looks healthy: no later step of a recovery trusts it."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from chalicelib import config, journal, timers
from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.reconcile import audit, reconcile
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.commands.wake import wake_promotion
from chalicelib.projections import coupons
from chalicelib.timers import DOUBT, Timer
from chalicelib.wiring import read_tables
from tests.unit.acts import bodies, fail_over, grab, messages, pay, recover, restock
from tests.unit.conftest import Http, create, state_of
from tests.unit.test_recover import wipe
from tests.unit.world import World, world

__all__ = ["world"]


@pytest.fixture
def sale(world: World) -> str:
    """Nine units, one of them alice's; somebody has written 99 into the store."""
    made = world.sale(stock=9, hold_seconds=600)
    grab(world, made, "alice")
    world.deliver()
    world.store.hset(scripts.key(made, "promotion"), "available", 99)
    return made


def test_a_wrong_store_is_mended_although_the_recovery_has_to_wait(
    world: World, sale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_S", "0.3")
    config.settings.cache_clear()
    found = reconcile(sale, world.outside, world.repair, read_tables) or []
    assert {difference.kind for difference in found} == {"STORE_WRONG"}
    assert grab(world, sale, "bob") == "UNKNOWN"
    world.set_clock(sale, 1500 + 300)
    world.wake()
    assert state_of(world.store, sale)["available"] == "8"


def test_a_doubt_outlives_the_process_that_had_it(world: World, sale: str) -> None:
    waiting = Repair(lambda _: False, world.repair.rebuild)
    recover_promotion(sale, world.outside, waiting, doubted=True)
    for _ in range(2):  # others, who see a healthy state
        assert recover_promotion(sale, world.outside, waiting).outcome == "WAITING"
    assert recover(world, sale) == "RECOVERED"
    assert state_of(world.store, sale)["available"] == "8"
    assert recover(world, sale) == "HEALTHY"


def test_a_doubt_that_comes_while_a_fence_is_up_counts(world: World, sale: str) -> None:
    waiting = Repair(lambda _: False, world.repair.rebuild)
    fail_over(world, sale)
    assert recover_promotion(sale, world.outside, waiting).outcome == "WAITING"
    recover_promotion(sale, world.outside, waiting, doubted=True)
    assert recover(world, sale) == "RECOVERED"
    assert state_of(world.store, sale)["available"] == "8"


def test_a_doubt_is_gone_with_its_recovery(world: World, sale: str) -> None:
    assert recover(world, sale, doubted=True) == "RECOVERED"
    fail_over(world, sale)
    assert recover(world, sale) == "RESUMED"


def test_the_sweep_goes_on_with_a_doubt(world: World, sale: str) -> None:
    waiting = Repair(lambda _: False, world.repair.rebuild)
    recover_promotion(sale, world.outside, waiting, doubted=True)
    world.queues.timers.clear()
    world.settle()
    assert state_of(world.store, sale)["available"] == "8"
    assert audit(sale, world.outside, read_tables, 0) == []


def test_events_that_came_late_are_no_doubt_about_the_store(world: World) -> None:
    """It is without them, and right: nobody is kept waiting behind a fence for that."""
    sale = world.sale(stock=3, hold_seconds=600)
    grab(world, sale, "alice")
    late = list(world.queues.events)
    world.queues.events.clear()
    wipe(world.store, sale)
    recover(world, sale)
    world.queues.events += late
    world.deliver()
    reconcile(sale, world.outside, Repair(lambda _: False, world.repair.rebuild), read_tables)
    assert grab(world, sale, "alice") == "REPEATED"
    assert pay(world, sale, 1, "alice", "visa-1") == "PAID"
    assert restock(world, sale, 1, "monday") == "RESTOCKED"


def test_recovering_is_answered_only_while_a_recovery_runs(
    http: Callable[..., Http],
    offer: dict[str, Any],
    store: Redis,
    outside: Outside,
    repair: Repair,
) -> None:
    """alice's grab is late: the store was recovered without her coupon, and the table has it."""
    sale = create(http, offer, publishTime=0, holdSeconds=600)
    http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    late = [event for event in messages("journal") if event.type == "CouponGrabbed"]
    for event in late:
        coupons.on_event(event)
    wipe(store, sale)
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    for event in late:
        journal.append(event)
    payment = {"customerId": "alice", "paymentReference": "visa-1"}
    for _ in range(2):
        answer = http("POST", f"/command/coupons/{sale}-1/payment", payment)
        assert (answer.status, answer.body["state"]) == (200, "PAID")
        wake_promotion(Timer(sale, DOUBT), outside, repair)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/stock", {"add": 1}),
        ("DELETE", "", None),
        ("PUT", "", {}),
    ],
)
def test_an_operator_who_is_told_recovering_has_begun_the_recovery(
    http: Callable[..., Http], offer: dict[str, Any], store: Redis,
    method: str, path: str, body: dict[str, Any] | None,
) -> None:  # fmt: skip
    sale = create(http, offer, publishTime=0)
    wipe(store, sale)
    sent = offer if body == {} else body
    answer = http(method, f"/admin/promotions/{sale}{path}", sent)
    assert (answer.status, answer.body["code"]) == (503, "RECOVERING")
    assert "recovering" in state_of(store, sale)
    assert Timer(sale, DOUBT) in [timers.parse(body) for body in bodies("timers")]
