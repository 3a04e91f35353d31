"""Time passes behind a fence, and clocks jump: nobody loses a coupon, and nothing is blocked."""

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import clients, config
from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.promotions import find_promotion
from chalicelib.commands.recover import Repair, begin_recovery, recover_promotion
from chalicelib.commands.wake import wake_promotion
from chalicelib.timers import Timer
from tests.unit.acts import fail_over, give_back, grab, pay, recover, states, wipe
from tests.unit.conftest import state_of
from tests.unit.world import World, world

__all__ = ["world"]
HOUR_MS = 3_600_000


@pytest.fixture
def sale(world: World) -> str:
    """One unit, which alice holds until 601500; it sells for a long time."""
    made = world.sale(stock=1, hold_seconds=600, ends_at=10**9)
    grab(world, made, "alice")
    world.deliver()
    return made


def deadline(world: World, sale: str) -> float:
    holds: Any = world.store.zrange(scripts.key(sale, "holds"), 0, -1, withscores=True)
    return float(holds[0][1])


@pytest.mark.parametrize(("fault", "outcome"), [(fail_over, "RESUMED"), (wipe, "RECOVERED")])
def test_a_hold_that_ended_only_because_of_the_fence_goes_on(
    world: World, sale: str, fault: Callable[[World, str], None], outcome: str
) -> None:
    world.set_clock(sale, 601_000)
    fault(world, sale)
    assert pay(world, sale, 1, "alice", "visa-1") == "UNKNOWN"
    begin_recovery(sale, world.outside)
    world.set_clock(sale, 611_000)
    assert recover(world, sale) == outcome
    assert grab(world, sale, "bob") == "SOLD_OUT"
    assert deadline(world, sale) == 611_500
    assert pay(world, sale, 1, "alice", "visa-1") == "PAID"


def test_a_hold_that_had_ended_before_the_fence_stays_ended(world: World, sale: str) -> None:
    world.set_clock(sale, 602_000)
    fail_over(world, sale)
    begin_recovery(sale, world.outside)
    world.set_clock(sale, 611_000)
    assert recover(world, sale) == "RESUMED"
    assert grab(world, sale, "bob") == "GRANTED"
    assert pay(world, sale, 1, "alice", "visa-1") == "HOLD_EXPIRED"


def test_time_counts_from_the_first_call_that_was_refused(world: World, sale: str) -> None:
    """It comes before any fence; so does the payment that was in time."""
    fail_over(world, sale)
    world.set_clock(sale, 601_000)
    assert pay(world, sale, 1, "alice", "visa-1") == "UNKNOWN"
    world.set_clock(sale, 605_000)
    assert recover(world, sale) == "RESUMED"
    assert deadline(world, sale) == 605_500
    assert pay(world, sale, 1, "alice", "visa-1") == "PAID"


def test_time_is_given_back_once(world: World, sale: str) -> None:
    for _ in range(2):
        fail_over(world, sale)
        waiting = Repair(lambda _: False, world.repair.rebuild)
        recover_promotion(sale, world.outside, waiting)
        world.set_clock(sale, 1600)
        assert recover(world, sale) == "RESUMED"
        assert recover(world, sale) == "HEALTHY"
        assert deadline(world, sale) == 601_600
        assert states(world, sale) == {("alice", 1): "GRABBED"}


def test_a_clock_that_is_set_back_makes_no_recovery_wait(
    world: World, sale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_S", "10")
    config.settings.cache_clear()
    world.set_clock(sale, 100 * HOUR_MS)
    fail_over(world, sale)
    assert recover(world, sale) == "WAITING"
    world.set_clock(sale, 99 * HOUR_MS)
    assert recover(world, sale) == "WAITING"
    world.set_clock(sale, 99 * HOUR_MS + 10_000)
    assert recover(world, sale) == "RESUMED"


def test_a_clock_that_is_set_back_takes_no_time_from_a_hold(world: World, sale: str) -> None:
    fail_over(world, sale)
    begin_recovery(sale, world.outside)
    world.set_clock(sale, 1500 - 1000)
    assert recover(world, sale) == "RESUMED"
    assert deadline(world, sale) == 601_500
    assert give_back(world, sale, 1, "alice") == "RELEASED"


def test_a_timer_that_comes_early_is_armed_again_and_advances_what_is_due(
    world: World, sale: str
) -> None:
    """The store's clock was set back an hour after it was armed."""
    due_at = clients.store_clock_ms() + HOUR_MS
    world.queues.timers.clear()
    world.set_clock(sale, 700_000)
    assert wake_promotion(Timer(sale, due_at), world.outside, world.repair) == "EARLY"
    assert world.queues.timers[0] == Timer(sale, due_at).to_wire()
    assert states(world, sale) == {("alice", 1): "RELEASED"}


def test_a_promotion_that_is_being_created_is_no_lost_one(world: World) -> None:
    """A sweep looks between the promotion's row and its state, a moment later."""
    sale = world.sale(stock=1)
    wipe(world, sale)
    scripts.run(world.store, "fence", sale, 0, "token", "")
    row = find_promotion(sale)
    assert row is not None
    assert install_promotion(row, world.outside) == "ON_SALE"
    assert grab(world, sale, "alice") == "GRANTED"
    assert "recovering" not in state_of(world.store, sale)
