"""Recoveries that are interrupted, coupons whose number was granted again, creations in between."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pynamodb.exceptions import UpdateError

from chalicelib import events, journal
from chalicelib.commands import create_promotion as creating
from chalicelib.commands import outbox, scripts
from chalicelib.commands.create_promotion import CreatePromotion, create_promotion
from chalicelib.commands.decision import NotOnRecord, decide
from chalicelib.commands.edit_promotion import cancel_promotion
from chalicelib.commands.pay import PayCoupon, pay_coupon
from chalicelib.commands.recover import recover_promotion
from chalicelib.commands.restore import restore_coupon
from chalicelib.commands.sweep import sweep
from chalicelib.door.for_customers import settled
from chalicelib.events import CouponEvent, CouponExtended
from chalicelib.projections import coupons
from chalicelib.projections.coupons import CouponRow
from chalicelib.shapes import coupon_id
from tests.unit.acts import (
    fail_over,
    give_back,
    go_back,
    grab,
    lose,
    pay,
    recover,
    redrive,
    snapshot,
    states,
    told,
    wipe,
    without_journal,
)
from tests.unit.conftest import promotion_row, state_of
from tests.unit.world import World, killed, world

__all__ = ["world"]
DEADLINE = 1500 + 600_000


@pytest.fixture
def sale(world: World) -> str:
    """On sale, three units, up to two each; a hold takes ten minutes."""
    more = {"hold_seconds": 600, "coupons_per_customer": 2}
    made = world.sale(stock=3, ends_at=10_000_000, **more)
    world.deliver()
    return made


def deadlines(world: World, sale: str) -> dict[str, int]:
    members: Any = world.store.zrange(scripts.key(sale, "holds"), 0, -1, withscores=True)
    return {str(member): int(deadline) for member, deadline in members}


# --- time behind a fence --------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [fail_over, wipe])
def test_time_that_an_interrupted_recovery_took_is_given_back_too(
    world: World, sale: str, lost: Callable[[World, str], None]
) -> None:
    grab(world, sale, "alice")
    grab(world, sale, "bob")
    world.deliver()
    lost(world, sale)
    scripts.run(world.store, "fence", sale, 0, "token", "")
    start, effects, died = world.save(sale), 0, True
    while died:
        world.restore(start)
        world.set_clock(sale, 11_500)
        act = lambda: recover_promotion(sale, world.outside, world.repair)  # noqa: E731
        died = killed(world, effects, act)
        world.set_clock(sale, 311_500)
        outcome = recover(world, sale)
        expected = DEADLINE + (10_000 if outcome == "HEALTHY" else 310_000)
        assert deadlines(world, sale) == {"1 alice": expected, "2 bob": expected}, effects
        effects += 1
    assert effects > 3


def test_the_time_behind_a_second_fence_is_given_back_to_all(world: World, sale: str) -> None:
    grab(world, sale, "alice")
    grab(world, sale, "bob")
    world.deliver()
    wipe(world, sale)
    scripts.run(world.store, "fence", sale, 0, "first", "")
    start, effects = world.save(sale), 0
    while not any(isinstance(event, CouponExtended) for event in journal.read(sale)):
        world.restore(start)
        world.set_clock(sale, 11_500)
        assert killed(world, effects, lambda: recover_promotion(sale, world.outside, world.repair))
        effects += 1
    wipe(world, sale)
    world.set_clock(sale, 100_000)
    scripts.run(world.store, "fence", sale, 0, "second", "")
    world.set_clock(sale, 200_000)
    assert recover(world, sale) == "RECOVERED"
    assert all(deadline >= DEADLINE + 100_000 for deadline in deadlines(world, sale).values())
    assert len(deadlines(world, sale)) == 2


def test_a_doubt_after_time_was_given_back_gives_none_a_second_time(
    world: World, sale: str
) -> None:
    grab(world, sale, "alice")
    world.deliver()
    fail_over(world, sale)
    world.set_clock(sale, 11_500)
    scripts.run(world.store, "fence", sale, 0, "token", "")
    world.set_clock(sale, 21_500)
    assert decide(world.outside, "resume", sale, "token", 0, 0, 100).outcome == "EXTENDED"
    world.deliver()
    recover(world, sale, doubted=True)
    assert deadlines(world, sale) == {"1 alice": DEADLINE + 10_000}


def test_time_that_was_given_back_counts_although_its_event_is_late(
    world: World, sale: str
) -> None:
    grab(world, sale, "alice")
    world.deliver()
    fail_over(world, sale)
    scripts.run(world.store, "fence", sale, 0, "token", "")
    world.set_clock(sale, 301_500)
    assert recover_promotion(sale, world.outside, world.repair).outcome == "RESUMED"
    dead = lose(world, "alice")
    wipe(world, sale)
    recover(world, sale)
    redrive(world, dead)
    world.settle()
    assert deadlines(world, sale) == {"1 alice": DEADLINE + 300_000}


# --- a number that was granted again --------------------------------------------------------------


def granted_again(world: World, sale: str, act: Callable[[], object]) -> list[str]:
    """Alice's first coupon, and what she did with it, comes late; the store grants the next one."""
    assert grab(world, sale, "alice", f"{sale}-first") == "GRANTED"
    act()
    dead = lose(world, "alice")
    wipe(world, sale)
    assert recover(world, sale) == "RECOVERED"
    assert grab(world, sale, "alice", f"{sale}-second") == "GRANTED"
    world.deliver()
    return dead


def test_a_late_return_of_another_coupon_takes_no_coupon(world: World, sale: str) -> None:
    redrive(world, granted_again(world, sale, lambda: give_back(world, sale, 1, "alice")))
    world.settle()
    assert states(world, sale) == {("alice", 1): "GRABBED"}


def test_a_late_refund_of_another_coupon_pays_no_coupon(world: World, sale: str) -> None:
    def act() -> None:
        give_back(world, sale, 1, "alice")
        assert pay(world, sale, 1, "alice", "visa-1") == "COUPON_RELEASED"

    redrive(world, granted_again(world, sale, act))
    world.settle()
    assert told(world, sale) == {("alice", 1): ("GRABBED", None)}


def test_a_late_coupon_whose_number_was_granted_again_gets_the_next(
    world: World, sale: str
) -> None:
    dead = granted_again(world, sale, lambda: None)
    for _ in range(2):
        redrive(world, list(dead))
        world.settle()
        assert states(world, sale) == {("alice", 1): "GRABBED", ("alice", 2): "GRABBED"}
    assert grab(world, sale, "alice", f"{sale}-first") == "REPEATED"


def test_a_late_payment_for_another_coupon_has_a_unit_of_its_own(world: World, sale: str) -> None:
    dead = granted_again(world, sale, lambda: pay(world, sale, 1, "alice", "visa-1"))
    assert pay(world, sale, 1, "alice", "visa-2") == "PAID"
    redrive(world, dead)
    world.settle()
    assert told(world, sale) == {
        ("alice", 1): ("PAID", "visa-2"), ("alice", 2): ("PAID", "visa-1"),
    }  # fmt: skip
    assert state_of(world.store, sale)["sold"] == "2"


def test_a_late_coupon_without_room_leaves_the_one_that_has_its_number(world: World) -> None:
    sale = world.sale(stock=3, ends_at=10_000_000, hold_seconds=600)
    world.deliver()
    redrive(world, granted_again(world, sale, lambda: None))
    world.settle()
    assert states(world, sale) == {("alice", 1): "GRABBED"}


def test_two_stories_of_one_number_are_two_coupons(world: World, sale: str) -> None:
    then = snapshot(world, sale)
    for key in ("first", "second"):
        go_back(world, sale, then)
        assert grab(world, sale, "alice", f"{sale}-{key}") == "GRANTED"
        world.deliver()
    recover(world, sale)
    world.settle()
    assert states(world, sale) == {("alice", 1): "GRABBED", ("alice", 2): "GRABBED"}
    for key in ("first", "second"):
        world.store.delete(f"seckill:request:alice/{sale}-{key}")
        assert grab(world, sale, "alice", f"{sale}-{key}") == "REPEATED"


# --- records that are restored --------------------------------------------------------------------


def test_what_a_cancellation_released_is_restored_as_released(world: World, sale: str) -> None:
    grab(world, sale, "alice")
    cancel_promotion(sale, world.outside)
    dead = lose(world, "alice")
    for body in dead:
        coupons.on_event(events.parse(body))
    world.deliver()
    wipe(world, sale)
    assert recover(world, sale) == "RECOVERED"
    restore_coupon(CouponRow.get("alice", coupon_id(sale, 1)).to_coupon(), world.outside)
    assert give_back(world, sale, 1, "alice") == "REPEATED"
    assert told(world, sale)["alice", 1] == ("RELEASED", None)


def test_a_coupon_that_is_restored_forwards_to_its_number(
    world: World, sale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = snapshot(world, sale)
    for customer in ("alice", "bob"):
        go_back(world, sale, then)
        grab(world, sale, customer)
        world.deliver()
    recover(world, sale)
    world.settle()
    [moved] = [row for row in CouponRow.scan() if row.moved_to is not None]
    who, number = moved.customer_id, int(moved.number)
    world.store.hdel(scripts.key(sale, "customers"), who)
    monkeypatch.setattr("chalicelib.door.for_customers.outside", lambda: world.outside)
    command = PayCoupon(sale, number, who, "visa-1")
    answer = settled(command, lambda: pay_coupon(command, world.outside))
    assert (answer.status, json.loads(answer.body)["state"]) == (200, "PAID")
    assert ("PAID", "visa-1") in told(world, sale).values()


def test_the_refund_of_a_conflict_is_on_record_before_it_is_settled(
    world: World, sale: str
) -> None:
    grab(world, sale, "alice")
    world.deliver()
    then = snapshot(world, sale)
    assert pay(world, sale, 1, "alice", "visa-1") == "PAID"
    dead = lose(world, "alice")
    go_back(world, sale, then)
    assert pay(world, sale, 1, "alice", "visa-2") == "PAID"
    world.deliver()
    wipe(world, sale)
    assert recover(world, sale) == "RECOVERED"
    world.settle()
    redrive(world, dead)
    world.queues.takes = 0
    with pytest.raises(NotOnRecord):
        recover_promotion(sale, without_journal(world.outside), world.repair)
    assert recover_promotion(sale, world.outside, world.repair).outcome == "HEALTHY"
    assert journal.conflicts(sale) == []
    paid = {e.payment_reference for e in journal.read(sale) if isinstance(e, CouponEvent)}
    assert {"visa-1", "visa-2"} <= paid


# --- what can't be read ---------------------------------------------------------------------------


def test_a_recovery_whose_event_can_not_be_read_is_followed_by_the_next(
    world: World, sale: str
) -> None:
    grab(world, sale, "alice")
    world.deliver()
    wipe(world, sale)
    assert recover(world, sale) == "RECOVERED"
    [row] = [r for r in journal.EventRow.query(sale) if r.type == "PromotionRecovered"]
    row.event = "rubbish"
    row.save()
    wipe(world, sale)
    assert recover(world, sale) == "RECOVERED"
    assert grab(world, sale, "bob") == "GRANTED"


def test_an_event_behind_a_piece_that_can_not_be_read_is_found(world: World, sale: str) -> None:
    key = scripts.key(sale, "outbox")
    for n in range(30):
        world.store.xadd(key, {"event": "rubbish"}, id=f"1-{n + 1}")
    scripts.run(world.store, "grab", sale, "alice", "alice-key", 0)
    [found] = outbox.waiting(sale, world.store, 25)
    assert found.type == "CouponGrabbed"


# --- creations ------------------------------------------------------------------------------------


def creation(world: World, key: str) -> CreatePromotion:
    world.set_clock(creating._id_of(key), 1500)  # noqa: SLF001
    return CreatePromotion(promotion_row(3, 1000, 9_000_000_000_000).offer(), key)


def test_a_creation_whose_start_a_sweep_has_published_stands(world: World) -> None:
    command = creation(world, "swept")

    def keep(_: events.AnyEvent) -> bool:
        world.queues.takes = 10
        sweep(world.outside, world.repair)  # the broker is back
        return False

    world.queues.takes = 0
    made = create_promotion(command, replace(world.outside, keep=keep))
    assert made.outcome == "CREATED"
    assert create_promotion(command, world.outside).outcome == "REPEATED"
    world.deliver()
    assert journal.conflicts(made.row.promotion_id) == []
    assert grab(world, made.row.promotion_id, "alice") == "GRANTED"


def test_a_creation_stands_although_its_end_could_not_be_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: str) -> None:
        raise UpdateError

    monkeypatch.setattr(creating, "note_created", fails)
    made = create_promotion(creation(world, "noted"), world.outside)
    assert (made.outcome, made.state) == ("CREATED", "ON_SALE")
