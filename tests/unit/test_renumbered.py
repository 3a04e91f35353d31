"""A coupon that a recovery has given a new number: its customer knows the old one, and it works."""

import pytest

from chalicelib import config
from chalicelib.commands.admit import AdmitCustomer, admit_customer
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.queries.coupons import coupon_by_id
from tests.unit.acts import (
    give_back,
    go_back,
    grab,
    pay,
    recover,
    snapshot,
    states,
    told,
    wipe,
)
from tests.unit.conftest import state_of
from tests.unit.world import World, world

__all__ = ["world"]


def twice_sold(world: World, reference: str | None = None) -> str:
    """Nine units; alice and bob were both told number 1. Bob has paid if there is a reference."""
    sale = world.sale(stock=9, hold_seconds=600)
    then = snapshot(world, sale)
    grab(world, sale, "alice", f"{sale}-alice")
    world.deliver()
    go_back(world, sale, then)
    grab(world, sale, "bob", f"{sale}-bob")
    if reference:
        assert pay(world, sale, 1, "bob", reference) == "PAID"
    world.deliver()
    assert recover(world, sale) == "RECOVERED"
    return sale


@pytest.fixture
def sale(world: World) -> str:
    return twice_sold(world)


def test_a_payment_of_the_number_that_the_customer_knows_is_taken(world: World, sale: str) -> None:
    assert pay(world, sale, 1, "bob", "visa-1") == "PAID"
    assert pay(world, sale, 1, "bob", "visa-1") == "REPEATED"
    assert pay(world, sale, 2, "bob", "visa-1") == "REPEATED"
    assert pay(world, sale, 1, "alice", "visa-2") == "PAID"
    assert states(world, sale) == {
        ("alice", 1): "PAID", ("bob", 1): "REVOKED", ("bob", 2): "PAID",
    }  # fmt: skip


def test_a_payment_that_is_told_again_is_never_a_refund_too(world: World) -> None:
    sale = twice_sold(world, "visa-1")
    for _ in range(2):
        assert pay(world, sale, 1, "bob", "visa-1") == "REPEATED"
        assert {state for (who, _), state in told(world, sale).items() if who == "bob"} == {
            ("REVOKED", "visa-1"), ("PAID", "visa-1"),
        }  # fmt: skip
        wipe(world, sale)
        recover(world, sale)
    assert pay(world, sale, 1, "bob", "visa-2") == "ALREADY_PAID"


def test_it_can_be_given_back_by_either_number(world: World, sale: str) -> None:
    for number in (1, 2):
        outcome = give_back(world, sale, number, "bob")
        assert outcome == ("RELEASED" if number == 1 else "REPEATED")
    assert state_of(world.store, sale)["available"] == "8"
    assert states(world, sale)["alice", 1] == "GRABBED"


def test_a_grab_that_is_sent_again_gets_the_new_number(world: World, sale: str) -> None:
    again = grab_coupon(GrabCoupon(sale, "bob", f"{sale}-bob"), world.outside)
    assert again.outcome == "REPEATED"
    assert again.coupon is not None
    assert (again.coupon.number, again.coupon.state) == (2, "GRABBED")


def test_its_customer_is_admitted(world: World, sale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a coupon is, also when the sale is over."""
    secret = "dGhpcnR5LXR3byBieXRlcyBhcmUgdGhlIGxlYXN0Li4="  # noqa: S105
    monkeypatch.setenv("ADMISSION_KEYS", f"monday:{secret}")
    config.settings.cache_clear()
    pay(world, sale, 1, "bob", "visa-1")
    world.set_clock(sale, 3000)
    assert admit_customer(AdmitCustomer(sale, "bob"), world.outside).outcome == "ADMITTED"
    assert admit_customer(AdmitCustomer(sale, "zoe"), world.outside).outcome == "FINISHED"


def test_the_customers_list_has_both_and_names_the_new_one(world: World, sale: str) -> None:
    old, new = (coupon_by_id("bob", f"{sale}-{number}") for number in (1, 2))
    assert old is not None
    assert new is not None
    assert (old.state, old.moved_to, old.reason) == ("REVOKED", f"{sale}-2", "RENUMBERED")
    assert (new.state, new.moved_to) == ("GRABBED", None)


def test_it_is_found_by_its_old_number_after_the_next_recovery_too(world: World, sale: str) -> None:
    for _ in range(2):
        wipe(world, sale)
        recover(world, sale)
    assert pay(world, sale, 1, "bob", "visa-1") == "PAID"
    assert grab(world, sale, "bob", f"{sale}-bob") == "REPEATED"


def test_two_customers_may_know_the_old_number(world: World, sale: str) -> None:
    assert grab(world, sale, "carol") == "GRANTED"
    assert ("carol", 3) in told(world, sale)
    assert pay(world, sale, 2, "alice", "visa-9") == "UNKNOWN_COUPON"
    assert pay(world, sale, 1, "carol", "visa-9") == "UNKNOWN_COUPON"
