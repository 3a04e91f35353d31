"""Paying and giving back: each outcome, repeats, and who may."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from redis import Redis

from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.pay import (
    GiveBackCoupon,
    PayCoupon,
    Settled,
    give_back_coupon,
    pay_coupon,
)
from chalicelib.commands.sweep import advance_promotion
from chalicelib.events import CouponPaid, CouponReleased, RefundRecorded
from chalicelib.timers import Timer
from tests.unit.conftest import Broker, state_of

pytestmark = pytest.mark.store

Install = Callable[..., str]
SetClock = Callable[[str, int], None]


@pytest.fixture
def held(sale_at: Install, set_clock: SetClock, outside: Outside) -> Callable[..., str]:
    """A sale in which alice holds coupon 1 from 1000 on, for one second."""

    def make(stock: int = 1, **more: object) -> str:
        sale = sale_at(stock=stock, closes_at=9000, **{"hold_seconds": 1, **more})
        set_clock(sale, 1000)
        assert grab_coupon(GrabCoupon(sale, "alice"), outside).outcome == "GRANTED"
        return sale

    return make


@pytest.fixture
def pay(outside: Outside) -> Callable[..., Settled]:
    def settle(sale: str, reference: str | None = "r1", customer: str = "alice") -> Settled:
        return pay_coupon(PayCoupon(sale, 1, customer, reference), outside)

    return settle


@pytest.fixture
def give_back(outside: Outside) -> Callable[..., Settled]:
    return lambda sale, customer="alice": give_back_coupon(
        GiveBackCoupon(sale, 1, customer), outside
    )


Settle = Callable[..., Settled]


def grabs(outside: Outside, sale: str, customer: str) -> str:
    return grab_coupon(GrabCoupon(sale, customer), outside).outcome


def test_a_grab_that_must_be_paid_shows_its_deadline(held: Install, outside: Outside) -> None:
    sale = held()
    coupon = grab_coupon(GrabCoupon(sale, "alice"), outside).coupon
    assert coupon is not None
    assert (coupon.grabbed_at, coupon.deadline) == (1000, 2000)


def test_a_payment_in_time_sells_the_unit(
    held: Install, pay: Settle, set_clock: SetClock, broker: Broker, store: Redis
) -> None:
    sale = held(stock=2, item_id="kettle", price=Decimal("3.00"))
    set_clock(sale, 1999)
    paid = pay(sale)
    assert paid.outcome == "PAID"
    assert paid.coupon is not None
    assert (paid.coupon.state, paid.coupon.paid_at) == ("PAID", 1999)
    assert (paid.coupon.payment_reference, paid.coupon.price) == ("r1", Decimal("3.00"))
    event = broker.published[-1]
    assert isinstance(event, CouponPaid)
    assert (event.available, event.held, event.sold) == (1, 0, 1)
    assert store.zcard(scripts.key(sale, "holds")) == 0


def test_the_same_payment_again_is_a_repeat_and_another_one_is_told(
    held: Install, pay: Settle, broker: Broker
) -> None:
    sale = held(stock=2)
    first = pay(sale)
    published = len(broker.published)
    assert (pay(sale).outcome, pay(sale).coupon) == ("REPEATED", first.coupon)
    other = pay(sale, "r2")
    assert (other.outcome, other.coupon) == ("ALREADY_PAID", first.coupon)
    assert len(broker.published) == published


def test_at_its_deadline_a_unit_is_sellable_in_that_very_instant(
    held: Install, outside: Outside, set_clock: SetClock
) -> None:
    sale = held()
    set_clock(sale, 1999)
    assert grabs(outside, sale, "bob") == "SOLD_OUT"
    set_clock(sale, 2000)
    assert grabs(outside, sale, "bob") == "GRANTED"


def test_with_every_timer_stopped_for_ten_holds_the_units_are_still_sellable(
    sale_at: Install, outside: Outside, set_clock: SetClock
) -> None:
    sale = sale_at(stock=30, closes_at=99_000, hold_seconds=1)
    set_clock(sale, 1000)
    for n in range(30):
        assert grabs(outside, sale, f"early-{n}") == "GRANTED"
    set_clock(sale, 11_000)
    assert [grabs(outside, sale, f"late-{n}") for n in range(31)] == ["GRANTED"] * 30 + ["SOLD_OUT"]


def test_no_call_releases_more_than_one_broker_batch(
    sale_at: Install, outside: Outside, set_clock: SetClock, store: Redis
) -> None:
    sale = sale_at(stock=25, closes_at=99_000, hold_seconds=1)
    set_clock(sale, 1000)
    for n in range(25):
        grabs(outside, sale, f"early-{n}")
    set_clock(sale, 2000)
    assert len(decide(outside, "advance", sale).reply.events) == 10
    assert store.zcard(scripts.key(sale, "holds")) == 15
    advance_promotion(sale, outside)
    assert store.zcard(scripts.key(sale, "holds")) == 0


def test_a_late_payment_is_honoured_while_a_unit_is_free(
    held: Install, pay: Settle, set_clock: SetClock, broker: Broker
) -> None:
    sale = held(stock=2)
    set_clock(sale, 3000)
    late = pay(sale)
    assert (late.outcome, late.coupon and late.coupon.state) == ("PAID", "PAID")
    assert [type(event) for event in broker.published[-2:]] == [CouponReleased, CouponPaid]
    assert (broker.published[-1].to_dict()["available"]) == 1


def test_a_late_payment_for_a_unit_that_is_gone_is_a_refund_on_record(
    held: Install, pay: Settle, set_clock: SetClock, outside: Outside, broker: Broker
) -> None:
    sale = held()
    set_clock(sale, 2000)
    assert grabs(outside, sale, "bob") == "GRANTED"
    late = pay(sale)
    assert (late.outcome, late.coupon and late.coupon.state) == ("HOLD_EXPIRED", "REFUND_DUE")
    event = broker.published[-1]
    assert isinstance(event, RefundRecorded)
    assert (event.reason, event.payment_reference) == ("HOLD_EXPIRED", "r1")
    published = len(broker.published)
    assert pay(sale).outcome == "HOLD_EXPIRED"
    assert len(broker.published) == published
    assert (broker.published[-1].to_dict()["held"], broker.published[-1].to_dict()["sold"]) == (
        1,
        0,
    )


def test_a_late_payment_of_one_who_has_grabbed_again_is_a_refund(
    held: Install, pay: Settle, set_clock: SetClock, outside: Outside
) -> None:
    sale = held(stock=5)
    set_clock(sale, 2000)
    assert grabs(outside, sale, "alice") == "GRANTED"
    assert pay(sale).outcome == "HOLD_EXPIRED"


def test_what_is_given_back_can_be_sold_at_once_and_grabbed_again_by_the_same(
    held: Install, give_back: Settle, outside: Outside, broker: Broker
) -> None:
    sale = held()
    assert grabs(outside, sale, "bob") == "SOLD_OUT"
    given = give_back(sale)
    assert (given.outcome, given.coupon and given.coupon.state) == ("RELEASED", "RELEASED")
    assert give_back(sale).outcome == "REPEATED"
    released = broker.published[-1]
    assert isinstance(released, CouponReleased)
    assert released.reason == "GIVEN_BACK"
    again = grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert (again.outcome, again.coupon and again.coupon.number) == ("GRANTED", 2)


def test_a_payment_for_what_was_given_back_is_a_refund(
    held: Install, pay: Settle, give_back: Settle
) -> None:
    sale = held()
    give_back(sale)
    assert [pay(sale).outcome for _ in range(2)] == ["COUPON_RELEASED"] * 2
    assert give_back(sale).outcome == "REFUND_DUE"


def test_what_is_paid_can_not_be_given_back(held: Install, pay: Settle, give_back: Settle) -> None:
    sale = held(stock=2)
    pay(sale)
    assert give_back(sale).outcome == "ALREADY_PAID"


def test_without_a_hold_a_grab_is_final(
    sale_at: Install, set_clock: SetClock, outside: Outside, pay: Settle, give_back: Settle
) -> None:
    sale = sale_at()
    set_clock(sale, 1000)
    grabs(outside, sale, "alice")
    assert (pay(sale).outcome, give_back(sale).outcome) == ("NOTHING_TO_PAY", "NOT_RETURNABLE")


def test_nobody_pays_or_gives_back_what_is_anothers(
    held: Install, pay: Settle, give_back: Settle
) -> None:
    sale = held()
    assert pay(sale, customer="mallory").outcome == "UNKNOWN_COUPON"
    assert give_back(sale, customer="mallory").outcome == "UNKNOWN_COUPON"


def test_finished_is_told_when_all_are_paid_and_not_before(
    held: Install, pay: Settle, outside: Outside, store: Redis, set_clock: SetClock
) -> None:
    sale = held()
    assert grabs(outside, sale, "bob") == "SOLD_OUT"
    assert state_of(store, sale)["state"] == "ON_SALE"
    pay(sale)
    assert state_of(store, sale)["state"] == "FINISHED"
    assert grabs(outside, sale, "bob") == "SOLD_OUT"


def test_after_the_end_an_open_hold_may_still_be_paid_until_its_deadline(
    sale_at: Install, set_clock: SetClock, outside: Outside, pay: Settle
) -> None:
    sale = sale_at(stock=2, closes_at=1500, hold_seconds=1)
    set_clock(sale, 1400)
    grabs(outside, sale, "alice")
    set_clock(sale, 2399)
    assert pay(sale).outcome == "PAID"


def test_after_the_end_a_late_payment_is_a_refund_though_units_are_left(
    sale_at: Install, set_clock: SetClock, outside: Outside, pay: Settle
) -> None:
    sale = sale_at(stock=2, closes_at=1500, hold_seconds=1)
    set_clock(sale, 1400)
    grabs(outside, sale, "alice")
    set_clock(sale, 2400)
    assert pay(sale).outcome == "HOLD_EXPIRED"


def test_the_first_hold_arms_a_timer_and_the_next_ones_need_none(
    sale_at: Install, set_clock: SetClock, outside: Outside, armed: list[Timer]
) -> None:
    sale = sale_at(stock=5, closes_at=99_000, hold_seconds=1)
    set_clock(sale, 1000)
    grabs(outside, sale, "alice")
    set_clock(sale, 1300)
    grabs(outside, sale, "bob")
    assert [timer.due_at for timer in armed] == [1000, 2000]
    set_clock(sale, 2000)
    advance_promotion(sale, outside)
    assert [timer.due_at for timer in armed] == [1000, 2000, 2300]
    set_clock(sale, 2300)
    advance_promotion(sale, outside)
    assert [timer.due_at for timer in armed] == [1000, 2000, 2300, 99_000]


def test_what_is_due_in_more_than_fifteen_minutes_is_left_to_a_later_sweep(
    sale_at: Install, set_clock: SetClock, outside: Outside, armed: list[Timer]
) -> None:
    sale = sale_at(opens_at=2_000_000, closes_at=9_000_000)
    assert armed == []
    set_clock(sale, 1_100_000)
    advance_promotion(sale, outside)
    assert [timer.due_at for timer in armed] == [2_000_000]


def test_a_timer_that_got_lost_is_armed_again(
    sale_at: Install, set_clock: SetClock, outside: Outside, armed: list[Timer]
) -> None:
    sale = sale_at(closes_at=600_000)
    set_clock(sale, 1500)
    advance_promotion(sale, outside)
    assert [timer.due_at for timer in armed] == [1000, 600_000]


def test_a_coupon_that_was_released_with_others_is_told_as_itself(
    held: Install, outside: Outside, set_clock: SetClock, give_back: Settle
) -> None:
    """One call releases both, and the answer is about one of them."""
    sale = held(stock=2)
    set_clock(sale, 1500)
    grabs(outside, sale, "bob")
    set_clock(sale, 2500)
    settled = give_back(sale)
    assert settled.outcome == "REPEATED"
    assert settled.coupon is not None
    assert (settled.coupon.grabbed_at, settled.coupon.deadline) == (1000, 2000)


def test_a_late_payment_is_told_as_paid_although_one_call_released_and_sold_it(
    held: Install, outside: Outside, set_clock: SetClock, pay: Settle
) -> None:
    sale = held(stock=2)
    grabs(outside, sale, "bob")
    set_clock(sale, 2001)
    settled = pay(sale)
    assert settled.outcome == "PAID"
    assert settled.coupon is not None
    assert (settled.coupon.paid_at, settled.coupon.payment_reference) == (2001, "r1")
