"""Edges of projecting and of what is left over."""

from collections.abc import Callable
from typing import Any

import pytest
from pynamodb.exceptions import PutError, UpdateError
from redis import Redis

from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.edit_promotion import cancel_promotion
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.pay import PayCoupon, pay_coupon
from chalicelib.events import AnyEvent
from chalicelib.journal import EventRow
from chalicelib.projections import active_promotions, coupons, journal
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.queries.coupons import coupon_of
from chalicelib.timers import Timer
from tests.unit.conftest import Broker, Http

Install = Callable[..., str]
SetClock = Callable[[str, int], None]


def test_no_key_of_a_live_sale_with_holds_has_a_time_to_live(
    promotion: Install, store: Redis, outside: Outside
) -> None:
    sale = promotion(hold_seconds=60)
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    decide(outside, "advance", sale)
    keys = list(store.scan_iter(match=f"*{sale}*"))
    assert scripts.key(sale, "holds") in keys
    assert {store.ttl(key) for key in keys} == {-1}


def test_what_one_call_leaves_overdue_a_timer_goes_on_with_after_a_pause(
    sale_at: Install, set_clock: SetClock, outside: Outside, armed: list[Timer]
) -> None:
    sale = sale_at(stock=25, closes_at=99_000, hold_seconds=1)
    set_clock(sale, 1000)
    for n in range(25):
        grab_coupon(GrabCoupon(sale, f"early-{n}"), outside)
    set_clock(sale, 2000)
    decide(outside, "advance", sale)
    assert armed[-1] == Timer(sale, 3000)


@pytest.fixture
def paid(promotion: Install, outside: Outside, broker: Broker) -> list[AnyEvent]:
    """Started, grabbed by alice, paid by alice."""
    sale = promotion(stock=2, hold_seconds=60)
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    pay_coupon(PayCoupon(sale, 1, "alice", "r1"), outside)
    return list(broker.published)


@pytest.mark.parametrize("order", [(1, 2), (2, 1), (2, 1, 2, 1), (1, 2, 1)])
def test_a_coupon_is_what_its_newest_event_says_in_any_order(
    aws: None, paid: list[AnyEvent], outside: Outside, order: tuple[int, ...]
) -> None:
    for place in order:
        coupons.on_event(paid[place])
    sale = paid[0].promotion_id
    told = pay_coupon(PayCoupon(sale, 1, "alice", "r1"), outside).coupon
    assert told is not None
    assert (told.state, told.payment_reference) == ("PAID", "r1")
    assert coupon_of("alice", sale) == told


def test_a_cancelled_promotion_is_shown_as_cancelled(
    aws: None, promotion: Install, outside: Outside, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.commands.edit_promotion.note_end", lambda *_: None)
    sale = promotion()
    cancel_promotion(sale, outside)
    for event in reversed(broker.published):
        active_promotions.on_event(event)
    assert ActivePromotionRow.get(sale).state == "CANCELLED"


@pytest.mark.parametrize(
    ("model", "project", "error"),
    [
        (EventRow, journal.on_event, PutError),
        (CouponRow, coupons.on_event, PutError),
        (ActivePromotionRow, active_promotions.on_event, UpdateError),
    ],
)
def test_no_projection_swallows_an_outage_of_its_table(
    aws: None,
    paid: list[AnyEvent],
    model: Any,
    project: Callable[[AnyEvent], None],
    error: type[Exception],
) -> None:
    model.delete_table()
    with pytest.raises(error):
        project(paid[1])


@pytest.mark.parametrize("digits", [16, 5000])
def test_an_endless_coupon_number_is_refused_by_its_field(
    http: Callable[..., Http], digits: int
) -> None:
    path = f"/command/coupons/sale-{'9' * digits}"
    for answer in (
        http("POST", f"{path}/payment", {"customerId": "alice"}),
        http("DELETE", f"{path}?customerId=alice"),
    ):
        assert (answer.status, list(answer.body["errors"])) == (400, ["couponId"])
