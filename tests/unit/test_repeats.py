"""Whoever asks again gets the answer of before: by the key or the reference, not by the state."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from redis import Redis

from chalicelib import journal
from chalicelib.commands import scripts
from chalicelib.commands.decision import NotOnRecord, decide
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.offer import Offer, store_fields
from chalicelib.events import parse
from chalicelib.projections import coupons
from tests.unit.acts import (
    fail_over,
    give_back,
    go_back,
    grab,
    messages,
    pay,
    recover,
    restock,
    snapshot,
    told,
    wipe,
    without_journal,
)
from tests.unit.conftest import Http, create, state_of
from tests.unit.world import World, world

__all__ = ["world"]
OPEN_NOW = Offer(11, Decimal("0.1"), 1000, 2000)


def refunds(world: World) -> list[str | None]:
    """References of the refunds that were published."""
    found = [parse(body) for body in world.queues.events]
    return [e.payment_reference for e in found if e.type == "RefundRecorded"]  # type: ignore[union-attr]


def test_each_payment_that_came_too_late_has_a_refund_of_its_own(world: World) -> None:
    sale = world.sale(stock=1, hold_seconds=600)
    grab(world, sale, "alice")
    give_back(world, sale, 1, "alice")
    for reference in ("visa-1", "visa-2", "visa-1", "visa-2"):
        assert pay(world, sale, 1, "alice", reference) == "COUPON_RELEASED"
    assert refunds(world) == ["visa-1", "visa-2"]
    world.deliver()
    wipe(world, sale)
    recover(world, sale)
    for reference in ("visa-1", "visa-2"):
        assert pay(world, sale, 1, "alice", reference) == "COUPON_RELEASED"
    assert refunds(world) == []


def test_a_key_is_that_of_one_coupon_also_when_it_was_given_back(world: World) -> None:
    for limit in (1, 3):
        sale = world.sale(stock=9, hold_seconds=600, coupons_per_customer=limit)
        key = f"{sale}-key"
        assert grab(world, sale, "alice", key) == "GRANTED"
        give_back(world, sale, 1, "alice")
        again = grab_coupon(GrabCoupon(sale, "alice", key), world.outside)
        assert (again.outcome, again.coupon and again.coupon.state) == ("REPEATED", "RELEASED")
        assert grab(world, sale, "alice", f"{sale}-other") == "GRANTED"
        world.deliver()
        wipe(world, sale)
        recover(world, sale)
        assert grab(world, sale, "alice", key) == "REPEATED"


def test_a_request_that_is_sent_again_grabs_no_second_coupon(
    http: Callable[..., Http], offer: dict[str, Any]
) -> None:
    sale = create(http, offer, publishTime=0, holdSeconds=600)
    body = {"promotionId": sale, "customerId": "alice"}
    first = http("POST", "/command/coupons", body, idempotency_key="key")
    assert http("DELETE", f"/command/coupons/{sale}-1?customerId=alice").status == 200
    again = http("POST", "/command/coupons", body, idempotency_key="key")
    assert (first.status, again.status) == (201, 200)
    assert again.body["couponId"] == first.body["couponId"]


def test_a_key_is_remembered_also_after_a_503(world: World) -> None:
    sale, other = (world.sale(coupons_per_customer=2) for _ in range(2))
    key = f"{sale}-key"
    world.queues.takes = 0
    with pytest.raises(NotOnRecord):
        grab_coupon(GrabCoupon(sale, "dora", key), without_journal(world.outside))
    world.queues.takes = 10
    assert grab(world, other, "dora", key) == "IDEMPOTENCY_KEY_REUSED"
    assert grab(world, sale, "dora", key) == "REPEATED"


def test_an_older_edit_that_is_sent_again_does_not_undo_a_newer_one(world: World) -> None:
    sale = world.sale(now=500)
    older = store_fields(Offer(11, Decimal("0.1"), 1000, 2000), None)
    newer = store_fields(Offer(22, Decimal("0.2"), 1000, 2000), None)
    for key, fields in (("older", older), ("newer", newer), ("older", older)):
        assert decide(world.outside, "edit", sale, key, *fields).outcome == "EDITED"
    assert state_of(world.store, sale)["stock"] == "22"


def test_a_restock_that_is_sent_again_adds_nothing_also_after_the_start(world: World) -> None:
    sale = world.sale(stock=1, now=500)
    assert restock(world, sale, 2, "monday") == "RESTOCKED"
    world.set_clock(sale, 1500)
    grab(world, sale, "alice")
    assert restock(world, sale, 2, "monday") == "REPEATED"
    assert state_of(world.store, sale)["stock"] == "3"


def test_the_second_sending_of_an_edit_publishes_the_start(world: World) -> None:
    sale = world.sale(now=500)
    world.store.hset(scripts.key(sale, "promotion"), "opens_at", 1600)
    world.set_clock(sale, 1500)
    args = ("key", *store_fields(OPEN_NOW, None))
    scripts.run(world.store, "edit", sale, *args)
    decide(world.outside, "edit", sale, *args)
    assert [parse(body).type for body in world.queues.events] == ["PromotionStarted"]


def test_the_second_sending_of_a_creation_publishes_the_start(world: World) -> None:
    sale = world.sale(now=500)
    wipe(world, sale)
    world.set_clock(sale, 1500)
    args = ("revision", 0, *store_fields(OPEN_NOW, None))
    scripts.run(world.store, "install", sale, *args)
    decide(world.outside, "install", sale, *args)
    assert [parse(body).type for body in world.queues.events] == ["PromotionStarted"]


def test_the_second_sending_of_a_creation_arms_its_timer(world: World) -> None:
    sale = world.sale(now=500)
    wipe(world, sale)
    world.queues.timers.clear()
    fields = ["revision", 0, *store_fields(OPEN_NOW, None)]
    scripts.run(world.store, "install", sale, *fields)
    decide(world.outside, "install", sale, *fields)
    assert len(world.queues.timers) == 1


def test_a_recovery_that_is_sent_twice_settles_its_conflicts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = world.sale(stock=5)
    then = snapshot(world, sale)
    grab(world, sale, "alice")
    world.deliver()
    go_back(world, sale, then)
    grab(world, sale, "bob")
    world.deliver()
    assert journal.conflicts(sale)
    once = scripts.script

    def script(store: Redis, name: str) -> Any:
        run = once(store, name)
        if name not in ("recover", "begin_install", "resume"):
            return run

        def twice(keys: list[str], args: list[Any]) -> Any:
            run(keys=keys, args=args)
            return run(keys=keys, args=args)

        return twice

    monkeypatch.setattr(scripts, "script", script)
    assert recover(world, sale) == "RECOVERED"
    assert journal.conflicts(sale) == []
    assert {customer for customer, _ in told(world, sale)} == {"alice", "bob"}
    fail_over(world, sale)
    assert recover(world, sale) == "RESUMED"


def test_another_payment_of_a_paid_coupon_is_never_confirmed(
    http: Callable[..., Http], offer: dict[str, Any], store: Redis
) -> None:
    sale = create(http, offer, publishTime=0, holdSeconds=600)
    http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    path, payment = f"/command/coupons/{sale}-1/payment", {"customerId": "alice"}
    assert http("POST", path, payment | {"paymentReference": "visa-1"}).status == 200
    for event in messages("coupons"):
        coupons.on_event(event)
    other = payment | {"paymentReference": "visa-2"}
    answer = http("POST", path, other)
    assert (answer.status, answer.body["code"]) == (409, "ALREADY_PAID")
    store.hset(scripts.key(sale, "promotion"), "history", "of another server")
    assert http("POST", path, other).status == 503
    same = http("POST", path, payment | {"paymentReference": "visa-1"})
    assert (same.status, same.body["state"]) == (200, "PAID")


def test_an_event_is_the_same_whoever_publishes_it(world: World) -> None:
    """A repeat publishes the text of the first; the journal takes it for the same event."""
    sale = world.sale()
    scripts.run(world.store, "grab", sale, "alice", "key", 0)
    grab_coupon(GrabCoupon(sale, "alice", "key"), world.outside)
    world.queues.events += world.queues.events
    world.deliver()
    assert journal.conflicts(sale) == []
