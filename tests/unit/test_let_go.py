"""A sale that the sweep has let go of: what is decided there after all is published and watched."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from chalicelib import journal
from chalicelib.commands import scripts
from chalicelib.commands.decision import NotOnRecord, Outside
from chalicelib.commands.pay import PayCoupon, pay_coupon
from chalicelib.commands.promotions import PromotionRow
from chalicelib.commands.recover import Repair, bring_back
from chalicelib.commands.sweep import sweep
from chalicelib.projections import coupons
from tests.unit.acts import (
    grab,
    let_go_of,
    messages,
    pay,
    told,
    wipe,
    wipe_store,
    without_journal,
)
from tests.unit.conftest import Http, create
from tests.unit.world import World, killed, world

__all__ = ["world"]


@pytest.fixture
def sale(world: World) -> str:
    return let_go_of(world)


def is_settled(world: World, sale: str) -> bool:
    """Whether her refund is on record, and the sweep has let go of the sale again."""
    world.settle()
    expire = {
        world.store.ttl(name) for name in world.store.scan_iter(match=f"seckill:{{{sale}}}:*")
    }
    expire.discard(world.store.ttl(scripts.key(sale, "clock")))
    return (
        told(world, sale) == {("alice", 1): ("REFUND_DUE", "visa-1")}
        and PromotionRow.get(sale).live is None
        and world.store.xlen(scripts.key(sale, "outbox")) == 0
        and all(lives_s > 0 for lives_s in expire)
    )


def test_a_late_refund_whose_process_died_reaches_the_journal(world: World, sale: str) -> None:
    start, effects = world.save(sale), 0
    while not world.store.xlen(scripts.key(sale, "outbox")):
        world.restore(start)
        assert killed(world, effects, lambda: pay(world, sale, 1, "alice", "visa-1"))
        effects += 1
    assert is_settled(world, sale)


def test_a_late_refund_that_was_on_no_record_reaches_the_journal(world: World, sale: str) -> None:
    world.queues.takes = 0
    with pytest.raises(NotOnRecord):
        pay_coupon(PayCoupon(sale, 1, "alice", "visa-1"), without_journal(world.outside))
    assert is_settled(world, sale)


def test_a_late_refund_that_only_the_journal_took_is_published(world: World, sale: str) -> None:
    world.queues.takes = 0
    assert pay(world, sale, 1, "alice", "visa-1") == "COUPON_RELEASED"
    assert PromotionRow.get(sale).live is not None
    assert is_settled(world, sale)


def test_nothing_of_it_stays_for_ever(world: World, sale: str) -> None:
    assert pay(world, sale, 1, "alice", "visa-1") == "COUPON_RELEASED"
    lives = {part: world.store.ttl(scripts.key(sale, part)) for part in scripts.PARTS}
    assert -1 not in lives.values(), lives
    assert is_settled(world, sale)


def test_a_repeat_decides_nothing_and_has_nobody_watch_it(world: World, sale: str) -> None:
    pay(world, sale, 1, "alice", "visa-1")
    assert is_settled(world, sale)
    assert pay(world, sale, 1, "alice", "visa-1") == "COUPON_RELEASED"
    assert grab(world, sale, "bob") == "CANCELLED"
    assert PromotionRow.get(sale).live is None
    assert is_settled(world, sale)


def test_a_sale_whose_keys_have_expired_is_brought_back_for_a_payment(
    world: World, sale: str
) -> None:
    wipe(world, sale)
    assert bring_back(sale, world.outside, world.repair).outcome == "RECOVERED"
    assert pay(world, sale, 1, "alice", "visa-1") == "COUPON_RELEASED"
    assert is_settled(world, sale)


def test_a_clock_that_was_set_back_keeps_no_sale_from_being_let_go_of(world: World) -> None:
    sale = world.sale(stock=1, now=1900)
    grab(world, sale, "alice")
    world.set_clock(sale, 1900 - 3_600_000)
    world.settle()
    assert PromotionRow.get(sale).live is None
    assert pay(world, sale, 1, "alice", "visa-1") == "NOTHING_TO_PAY"


def test_a_payment_after_the_keys_expired_is_a_refund_on_record(
    http: Callable[..., Http],
    offer: dict[str, Any],
    store: Redis,
    outside: Outside,
    repair: Repair,
) -> None:
    sale = create(http, offer, publishTime=0, holdSeconds=600)
    http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    http("DELETE", f"/command/coupons/{sale}-1?customerId=alice")
    http("DELETE", f"/admin/promotions/{sale}")
    for event in messages("coupons"):
        coupons.on_event(event)
    for event in messages("journal"):
        journal.append(event)
    while PromotionRow.get(sale).live is not None:
        sweep(outside, repair)
    wipe_store(store, sale)
    payment = {"customerId": "alice", "paymentReference": "visa-1"}
    for _ in range(2):
        answer = http("POST", f"/command/coupons/{sale}-1/payment", payment)
        assert (answer.status, answer.body["code"]) == (409, "COUPON_RELEASED")
    refunds = [event for event in messages("journal") if event.type == "RefundRecorded"]
    assert [getattr(event, "payment_reference", None) for event in refunds] == ["visa-1"]
