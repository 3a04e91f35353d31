"""A process dies at any statement of an operation: the next sweeps end in the same state.

An operation that somebody asked for may not have happened at all when its process died early. Then
asking again does it; after that it has happened once.
"""

import secrets
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import pytest

from chalicelib import journal
from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import CreatePromotion, _id_of, create_promotion
from chalicelib.commands.edit_promotion import (
    EditPromotion,
    RestockPromotion,
    cancel_promotion,
    edit_promotion,
    restock_promotion,
)
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.offer import Offer
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon, give_back_coupon, pay_coupon
from chalicelib.commands.reconcile import reconcile
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.commands.sweep import sweep
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.wiring import read_tables
from tests.unit.test_recover import wipe
from tests.unit.world import World, killed, world

__all__ = ["world"]


class Case(NamedTuple):
    """prepare: makes a promotion and returns its id. by_itself: nobody has to ask again."""

    prepare: Callable[[World], str]
    act: Callable[[World, str], object]
    by_itself: bool = False


def grab(world: World, sale: str, *customers: str) -> None:
    for customer in customers:
        grab_coupon(GrabCoupon(sale, customer, f"{sale}-{customer}"), world.outside)


def recover(world: World, sale: str) -> None:
    recover_promotion(sale, world.outside, world.repair)


def busy_sale(world: World, **more: Any) -> str:
    """Coupons in every state, and a restock; all of it is in the tables."""
    sale = world.sale(stock=5, hold_seconds=600, **more)
    grab(world, sale, "alice", "bob", "carol", "dave")
    pay_coupon(PayCoupon(sale, 2, "bob", "visa-b"), world.outside)
    give_back_coupon(GiveBackCoupon(sale, 3, "carol"), world.outside)
    pay_coupon(PayCoupon(sale, 3, "carol", "visa-c"), world.outside)
    restock_promotion(RestockPromotion(sale, 2, "monday"), world.outside)
    world.deliver()
    world.queues.timers.clear()
    return sale


def wiped(world: World) -> str:
    sale = busy_sale(world)
    wipe(world.store, sale)
    return sale


def gone_back(world: World) -> str:
    """The store forgot alice and the restock, and sold on."""
    sale = world.sale(stock=2, hold_seconds=600)
    grab(world, sale, "early")
    then: dict[str, Any] = {
        part: world.store.hgetall(scripts.key(sale, part)) for part in scripts.PARTS[:2]
    }
    holds: Any = world.store.zrange(scripts.key(sale, "holds"), 0, -1, withscores=True)
    grab(world, sale, "alice")
    restock_promotion(RestockPromotion(sale, 1, "monday"), world.outside)
    world.deliver()
    wipe(world.store, sale)
    for part, fields in then.items():
        world.store.hset(scripts.key(sale, part), mapping=fields)
    world.store.zadd(scripts.key(sale, "holds"), dict(holds))
    grab(world, sale, "bob")
    restock_promotion(RestockPromotion(sale, 2, "tuesday"), world.outside)
    grab(world, sale, "carol", "dave")
    pay_coupon(PayCoupon(sale, 2, "bob", "visa-b"), world.outside)
    world.deliver()
    world.queues.timers.clear()
    assert journal.conflicts(sale)
    return sale


def fenced(world: World) -> str:
    """A fail-over that forgot nothing; the fence has been up for a while."""
    sale = busy_sale(world)
    world.store.hset(scripts.key(sale, "promotion"), "history", "of another server")
    recover_promotion(sale, world.outside, Repair(lambda _: False, world.repair.rebuild))
    world.set_clock(sale, 1700)
    world.queues.timers.clear()
    return sale


def with_stragglers(world: World) -> str:
    """alice's grab and her payment, a restock and carol's coupon come after a recovery."""
    sale = world.sale(stock=3, hold_seconds=600)
    world.deliver()
    grab(world, sale, "alice", "carol")
    pay_coupon(PayCoupon(sale, 1, "alice", "visa-a"), world.outside)
    restock_promotion(RestockPromotion(sale, 2, "monday"), world.outside)
    late, world.queues.events[:] = list(world.queues.events), []
    wipe(world.store, sale)
    recover(world, sale)
    grab(world, sale, "bob")
    world.deliver()
    world.queues.events += late
    world.queues.timers.clear()
    world.deliver()
    assert world.queues.timers
    return sale


def sold_out(world: World) -> str:
    sale = world.sale(stock=1)
    grab(world, sale, "alice")
    world.deliver()
    return sale


def retired(world: World) -> str:
    sale = busy_sale(world)
    cancel_promotion(sale, world.outside)
    world.settle()
    assert world.end(sale)["expires"]
    return sale


def wrong_tables(world: World) -> str:
    sale = busy_sale(world)
    row = next(row for row in CouponRow.scan() if row.customer_id == "bob")
    row.update(actions=[CouponRow.state.set("GRABBED")])
    ActivePromotionRow(sale).update(actions=[ActivePromotionRow.sold.set(9)])
    return sale


def wrong_store(world: World) -> str:
    sale = busy_sale(world)
    world.store.hset(scripts.key(sale, "promotion"), "available", 99)
    return sale


def with_waiting_events(world: World) -> str:
    """Three processes died before they published."""
    sale = world.sale(stock=5)
    for name in ("alice", "bob", "carol"):
        scripts.run(world.store, "grab", sale, name, f"{sale}-{name}", 0)
    return sale


def grab_from_half_a_broker(world: World, sale: str) -> None:
    world.queues.takes = 1
    grab(world, sale, "dave")


def relay_to_half_a_broker(world: World, _: str) -> None:
    world.queues.takes = 1
    sweep(world.outside, world.repair)


def scheduled(world: World) -> str:
    return world.sale(stock=5, now=500)


NEW_OFFER = Offer(8, Decimal("0.5"), 1200, 2000, 2, 60)


def not_yet_created(world: World) -> str:
    key = secrets.token_hex(8)
    sale = _id_of(key)
    world.keys[sale] = key
    world.set_clock(sale, 1500)
    return sale


def create(world: World, sale: str) -> None:
    create_promotion(CreatePromotion(NEW_OFFER, world.keys[sale]), world.outside)


CASES = {
    "a wiped sale is recovered": Case(wiped, recover, by_itself=True),
    "a sale that went back in time is recovered": Case(gone_back, recover, by_itself=True),
    "a sale is served again": Case(fenced, recover, by_itself=True),
    "stragglers count": Case(with_stragglers, lambda world, _: world.wake(), by_itself=True),
    "a sale is cancelled": Case(
        busy_sale, lambda world, sale: cancel_promotion(sale, world.outside)
    ),
    "a sold-out sale is let go of": Case(
        sold_out, lambda world, _: sweep(world.outside, world.repair), by_itself=True
    ),
    "a payment comes for a sale that was let go of": Case(
        retired,
        lambda world, sale: pay_coupon(PayCoupon(sale, 1, "alice", "visa-a"), world.outside),
    ),
    "wrong tables are reconciled": Case(
        wrong_tables,
        lambda world, sale: reconcile(sale, world.outside, world.repair, read_tables),
    ),
    "a wrong store is reconciled": Case(
        wrong_store,
        lambda world, sale: reconcile(sale, world.outside, world.repair, read_tables),
    ),
    "a coupon is grabbed": Case(with_waiting_events, grab_from_half_a_broker),
    "the outbox is relayed": Case(with_waiting_events, relay_to_half_a_broker, by_itself=True),
    "units are added": Case(
        busy_sale,
        lambda world, sale: restock_promotion(RestockPromotion(sale, 3, "friday"), world.outside),
    ),
    "a promotion is created": Case(not_yet_created, create),
    "an offer is edited": Case(
        scheduled,
        lambda world, sale: edit_promotion(EditPromotion(sale, NEW_OFFER), world.outside),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_wherever_it_is_killed_the_next_sweeps_end_in_the_same_state(
    world: World, name: str
) -> None:
    case = CASES[name]
    sale = case.prepare(world)
    start, act = world.save(sale), partial(case.act, world, sale)
    done = end_of(world, sale, act)
    assert (done["outbox"], done["conflicts"], done["differences"]) == (0, 0, [])
    world.restore(start)
    not_done = None if case.by_itself else end_of(world, sale, lambda: None)
    dead, kills = True, 0
    while dead:
        world.restore(start)
        dead = killed(world, kills, act)
        end = end_of(world, sale, lambda: None)
        if end == not_done:
            end = end_of(world, sale, act)
        else:
            not_done = None  # it has happened; a kill that comes later changes nothing of that
        assert end == done, f"killed after {kills} effects"
        kills += 1
    assert kills > 2


@pytest.mark.parametrize("name", CASES)
def test_killed_again_and_again_it_gets_there_in_the_end(world: World, name: str) -> None:
    case = CASES[name]
    sale = case.prepare(world)
    start, act = world.save(sale), partial(case.act, world, sale)
    done = end_of(world, sale, act)
    world.restore(start)
    kills = 0
    while killed(world, kills, act):
        kills += 1
    assert end_of(world, sale, lambda: None) == done


def end_of(world: World, sale: str, act: Callable[[], object]) -> dict[str, Any]:
    act()
    world.settle()
    return world.end(sale)
