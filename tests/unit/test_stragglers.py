"""Events that come after a recovery: each counts once, and takes nobody's unit."""

import pytest

from chalicelib import journal
from chalicelib.commands.decision import decide
from chalicelib.commands.edit_promotion import cancel_promotion
from chalicelib.commands.reconcile import audit, reconcile
from chalicelib.wiring import read_tables
from tests.unit.acts import (
    give_back,
    go_back,
    grab,
    lose,
    pay,
    recover,
    redrive,
    restock,
    snapshot,
    states,
    told,
    wipe,
)
from tests.unit.conftest import state_of
from tests.unit.world import World, world

__all__ = ["world"]


def recovered_without(world: World, sale: str, *lost: str) -> list[str]:
    """The store is wiped and recovered while these events are dead letters."""
    dead = lose(world, *lost)
    world.deliver()
    wipe(world, sale)
    assert recover(world, sale) == "RECOVERED"
    return dead


def come_late(world: World, sale: str, dead: list[str]) -> None:
    """The dead letters are sent on, and what they ask for is done."""
    redrive(world, dead)
    assert world.queues.timers, "nobody asks for a check"
    world.settle()
    assert journal.conflicts(sale) == []
    assert audit(sale, world.outside, read_tables, 0) == []


def test_a_late_grab_gets_its_unit_while_one_is_free(world: World) -> None:
    sale = world.sale(stock=2)
    grab(world, sale, "alice", f"{sale}-key")
    dead = recovered_without(world, sale, "alice")
    grab(world, sale, "bob")
    come_late(world, sale, dead)
    assert set(states(world, sale).values()) == {"GRABBED", "REVOKED"}  # her old number is bob's
    assert grab(world, sale, "alice", f"{sale}-key") == "REPEATED"
    assert state_of(world.store, sale)["available"] == "0"


def test_all_events_may_come_late(world: World) -> None:
    """The recovery has found an empty journal, and the offer in the promotion's row."""
    sale = world.sale(stock=2)
    grab(world, sale, "alice", f"{sale}-key")
    dead = recovered_without(world, sale, "alice", "PromotionStarted")
    come_late(world, sale, dead)
    assert grab(world, sale, "alice", f"{sale}-key") == "REPEATED"


def test_a_late_grab_takes_nobodys_unit(world: World) -> None:
    sale = world.sale(stock=1)
    grab(world, sale, "alice")
    dead = recovered_without(world, sale, "alice", "PromotionFinished")
    assert grab(world, sale, "bob") == "GRANTED"
    come_late(world, sale, dead)
    assert states(world, sale) == {("alice", 1): "REVOKED", ("bob", 1): "GRABBED"}
    assert recover(world, sale, doubted=True) == "RECOVERED"
    assert states(world, sale) == {("alice", 1): "REVOKED", ("bob", 1): "GRABBED"}


def test_a_conflict_that_comes_late_is_settled(world: World) -> None:
    sale = world.sale(stock=1)
    then = snapshot(world, sale)
    grab(world, sale, "alice")
    dead = lose(world, "alice", "PromotionFinished")
    go_back(world, sale, then)
    grab(world, sale, "bob")
    world.deliver()
    wipe(world, sale)
    recover(world, sale)
    redrive(world, dead)
    kinds = {d.kind for d in reconcile(sale, world.outside, world.repair, read_tables) or []}
    assert "CONFLICT" in kinds
    world.deliver()
    assert audit(sale, world.outside, read_tables, 0) == []
    assert states(world, sale) == {("alice", 1): "REVOKED", ("bob", 1): "GRABBED"}


def test_a_late_payment_is_paid_or_a_refund_on_record(world: World) -> None:
    for customers in ((), ("bob",)):
        sale = world.sale(stock=1, hold_seconds=600)
        grab(world, sale, "alice")
        pay(world, sale, 1, "alice", "visa-1")
        dead = recovered_without(world, sale, "alice", "PromotionFinished")
        for customer in customers:
            assert grab(world, sale, customer) == "GRANTED"
        come_late(world, sale, dead)
        expected = ("REFUND_DUE", "visa-1") if customers else ("PAID", "visa-1")
        assert told(world, sale)["alice", 1] == expected


def test_a_late_payment_of_a_coupon_that_is_known_is_counted(world: World) -> None:
    sale = world.sale(stock=1, hold_seconds=600)
    grab(world, sale, "alice")
    world.deliver()
    pay(world, sale, 1, "alice", "visa-1")
    dead = recovered_without(world, sale, "CouponPaid", "PromotionFinished")
    assert states(world, sale) == {("alice", 1): "GRABBED"}
    come_late(world, sale, dead)
    assert told(world, sale) == {("alice", 1): ("PAID", "visa-1")}
    assert state_of(world.store, sale)["closed_as"] == "SOLD_OUT"


@pytest.mark.parametrize("times", [1, 2])
def test_a_late_restock_is_counted_once(world: World, times: int) -> None:
    """The row knows it, so the first recovery has counted it already."""
    sale = world.sale(stock=1)
    restock(world, sale, 2, "monday")
    dead = recovered_without(world, sale, "PromotionRestocked")
    come_late(world, sale, dead * times)
    assert state_of(world.store, sale)["stock"] == "3"
    assert restock(world, sale, 2, "monday") == "REPEATED"


def test_a_late_cancellation_cancels(world: World) -> None:
    """It was decided, and its process died before it wrote the row."""
    sale = world.sale(stock=2, hold_seconds=600)
    grab(world, sale, "alice")
    world.deliver()
    decide(world.outside, "cancel", sale)
    dead = recovered_without(world, sale, "PromotionCancelled")
    assert grab(world, sale, "bob") == "GRANTED"
    come_late(world, sale, dead)
    assert grab(world, sale, "zoe") == "CANCELLED"
    assert set(states(world, sale).values()) == {"RELEASED"}


def test_a_late_return_gives_the_unit_back(world: World) -> None:
    sale = world.sale(stock=1, hold_seconds=600)
    grab(world, sale, "alice")
    world.deliver()
    give_back(world, sale, 1, "alice")
    dead = recovered_without(world, sale, "CouponReleased")
    assert grab(world, sale, "bob") == "SOLD_OUT"
    come_late(world, sale, dead)
    assert grab(world, sale, "bob") == "GRANTED"


def test_money_that_moved_behind_a_recovery_is_on_record(world: World) -> None:
    """A snapshot of before the recovery comes back, and bob pays for what was taken from him."""
    sale = world.sale(stock=1, hold_seconds=600)
    then = snapshot(world, sale)
    grab(world, sale, "alice")
    world.deliver()
    go_back(world, sale, then)
    grab(world, sale, "bob")
    world.deliver()
    before = snapshot(world, sale)
    recover(world, sale)
    go_back(world, sale, before)
    assert pay(world, sale, 1, "bob", "visa-1") == "PAID"
    world.deliver()
    recover(world, sale)
    outcomes = {state for (who, _), state in told(world, sale).items() if who == "bob"}
    assert outcomes & {("PAID", "visa-1"), ("REFUND_DUE", "visa-1")}


def test_what_comes_late_for_a_cancelled_sale_that_was_let_go_of_counts(world: World) -> None:
    sale = world.sale(stock=2, hold_seconds=600)
    grab(world, sale, "alice")
    pay(world, sale, 1, "alice", "visa-1")
    dead = recovered_without(world, sale, "alice")
    cancel_promotion(sale, world.outside)
    world.settle()
    assert world.end(sale)["expires"]
    come_late(world, sale, dead)
    assert told(world, sale)["alice", 1] == ("PAID", "visa-1")
