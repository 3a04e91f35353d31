"""Nobody is told what only the store knows: the broker or the journal has it first."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from chalicelib import journal, wiring
from chalicelib.commands.create_promotion import CreatePromotion, _id_of, create_promotion
from chalicelib.commands.decision import NotOnRecord
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.offer import Offer
from chalicelib.commands.pay import PayCoupon, pay_coupon
from chalicelib.commands.promotions import all_ids, live_ids
from chalicelib.publisher import BrokerUnavailable
from tests.unit.acts import go_back, grab, recover, snapshot, told, wipe, without_journal
from tests.unit.conftest import Http
from tests.unit.world import World, killed, world

__all__ = ["world"]


@pytest.fixture
def sale(world: World) -> str:
    """xavier's hold ends at 601500, alice's a second later."""
    made = world.sale(stock=5, hold_seconds=600, ends_at=10**9)
    assert grab(world, made, "xavier") == "GRANTED"
    world.set_clock(made, 2500)
    world.deliver()
    return made


def test_a_grab_is_on_record_before_its_repeat_is_answered(world: World, sale: str) -> None:
    """The repeat releases xavier's coupon on its way, which is not what has to be on record."""
    world.queues.takes = 0
    with pytest.raises(NotOnRecord):
        grab_coupon(GrabCoupon(sale, "alice"), without_journal(world.outside))
    world.queues.takes = 10
    world.set_clock(sale, 601_600)
    assert grab(world, sale, "alice") == "REPEATED"
    world.deliver()
    wipe(world, sale)
    recover(world, sale)
    assert told(world, sale)["alice", 2] == ("GRABBED", None)


def test_a_payment_is_on_record_before_its_repeat_is_answered(world: World, sale: str) -> None:
    grab(world, sale, "alice")
    world.deliver()
    payment = PayCoupon(sale, 2, "alice", "visa-1")
    world.queues.takes = 0
    with pytest.raises(NotOnRecord):
        pay_coupon(payment, without_journal(world.outside))
    world.queues.takes = 10
    world.set_clock(sale, 601_600)
    assert pay_coupon(payment, without_journal(world.outside)).outcome == "REPEATED"
    world.deliver()
    wipe(world, sale)
    recover(world, sale)
    assert told(world, sale)["alice", 2] == ("PAID", "visa-1")


@pytest.mark.parametrize("what", ["the broker is away", "the process dies"])
def test_what_a_recovery_decides_is_on_record_before_its_conflicts_are_settled(
    world: World, what: str
) -> None:
    sale = world.sale(stock=5)
    then = snapshot(world, sale)
    grab(world, sale, "alice")
    world.deliver()
    go_back(world, sale, then)
    grab(world, sale, "bob")
    world.deliver()
    if what == "the broker is away":
        world.queues.takes = 0
        recover(world, sale)
    else:
        effects = 0
        while journal.conflicts(sale):
            killed(world, effects, lambda: recover(world, sale))
            effects += 1
    world.queues.events.clear()
    world.queues.takes = 10
    wipe(world, sale)
    recover(world, sale)
    assert {customer for customer, _ in told(world, sale)} == {"alice", "bob"}


def test_a_creation_that_is_on_no_record_is_on_no_list_and_sells_nothing(world: World) -> None:
    world.queues.takes = 0
    offer = Offer(8, Decimal("0.5"), 0, 2**42)
    sale = _id_of("key")
    world.set_clock(sale, 1500)
    with pytest.raises(NotOnRecord):
        create_promotion(CreatePromotion(offer, "key"), without_journal(world.outside))
    assert (all_ids(), live_ids()) == ([], [])
    world.settle()
    assert grab(world, sale, "alice") == "UNKNOWN"
    assert world.queues.events == []


def test_over_http_a_creation_that_is_on_no_record_is_a_503_and_on_no_list(
    http: Callable[..., Http], offer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def publish(self, events: Any) -> Any:
            message = f"{len(events)} events"
            raise BrokerUnavailable(message)

    monkeypatch.setattr(wiring, "keep_in_journal", lambda _: False)
    monkeypatch.setattr(wiring, "publisher", Away)
    assert http("POST", "/admin/promotions", offer | {"publishTime": 0}).status == 503
    assert (all_ids(), http("GET", "/admin/promotions").body) == ([], [])
