"""Edges of selling: clocks, bounds of what a process remembers, refusals that leave no trace."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from chalicelib import clients
from chalicelib.commands import missing, over, scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.pay import PayCoupon, pay_coupon
from chalicelib.commands.promotions import PromotionRow, copy_from_store
from chalicelib.commands.recover import Repair
from chalicelib.commands.wake import wake_promotion
from chalicelib.events import AnyEvent, from_mapping
from chalicelib.publisher import EventPublisher, SnsPublisher, SqsPublisher
from chalicelib.timers import Timer
from tests.unit.conftest import Http, server_of

pytestmark = pytest.mark.store

Ask = Callable[..., Http]
Install = Callable[..., str]
SetClock = Callable[[str, int], None]
HOUR_MS = 3_600_000


@pytest.fixture
def set_worker_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    right = time.time

    def set_off(minutes: int) -> None:
        monkeypatch.setattr(time, "time", lambda: right() + minutes * 60)

    return set_off


@pytest.mark.parametrize(
    ("minutes_off", "ends_in_minutes", "status"), [(10, 5, 201), (-10, -5, 400)]
)
def test_whether_an_offer_is_over_already_is_by_the_stores_clock(
    http: Ask,
    offer: dict[str, Any],
    set_worker_clock: Callable[[int], None],
    minutes_off: int,
    ends_in_minutes: int,
    status: int,
) -> None:
    offer |= {"publishTime": 0, "finishTime": clients.store_clock_ms() + ends_in_minutes * 60_000}
    set_worker_clock(minutes_off)
    assert http("POST", "/admin/promotions", offer).status == status


def test_a_vanished_sale_is_over_by_the_stores_clock_only(
    http: Ask, offer: dict[str, Any], store: Redis, set_worker_clock: Callable[[int], None]
) -> None:
    sale = http("POST", "/admin/promotions", {**offer, "publishTime": 0}).body["promotionId"]
    store.delete(scripts.key(sale, "promotion"))
    set_worker_clock(180)
    answer = http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    assert (answer.status, answer.body["code"]) == (503, "RECOVERING")


@pytest.mark.parametrize("minutes_off", [-10, 10])
def test_a_timer_is_early_or_not_by_the_stores_clock(
    promotion: Install,
    outside: Outside,
    repair: Repair,
    set_worker_clock: Callable[[int], None],
    minutes_off: int,
) -> None:
    opens_at = clients.store_clock_ms() + 200
    sale = promotion(opens_at=opens_at)
    set_worker_clock(minutes_off)
    assert wake_promotion(Timer(sale, opens_at), outside, repair) == "ON_SALE"


def test_a_row_never_goes_back_to_an_older_edit(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    sale = http("POST", "/admin/promotions", offer).body["promotionId"]
    http("PUT", f"/admin/promotions/{sale}", offer)
    PromotionRow(sale).update(
        actions=[PromotionRow.revision.set(7), PromotionRow.number_of_coupons.set(99)]
    )
    copy_from_store(sale, store)
    assert PromotionRow.get(sale).number_of_coupons == 99


def test_an_edit_that_names_no_item_takes_item_and_price_away(
    http: Ask, offer: dict[str, Any]
) -> None:
    item = http("POST", "/admin/items", {"name": "Kettle", "listPrice": 20}).body["itemId"]
    sale = http("POST", "/admin/promotions", {**offer, "itemId": item}).body["promotionId"]
    edited = http("PUT", f"/admin/promotions/{sale}", {**offer, "publishTime": 0}).body
    assert not {"itemId", "price"} & set(edited)
    grab = http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    assert "price" not in grab.body


def test_a_repeat_after_payment_gets_the_paid_coupon(
    sale_at: Install, set_clock: SetClock, outside: Outside
) -> None:
    sale = sale_at(stock=2, hold_seconds=1)
    set_clock(sale, 1000)
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    paid = pay_coupon(PayCoupon(sale, 1, "alice", "r1"), outside)
    again = grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert (paid.outcome, again.outcome, again.coupon) == ("PAID", "REPEATED", paid.coupon)


@pytest.mark.parametrize(
    ("outcome", "at", "more"),
    [
        ("NOT_STARTED", 999, {}),
        ("SOLD_OUT", 1001, {"hold_seconds": 1}),
        ("SOLD_OUT", 1001, {}),
        ("FINISHED", 2001, {}),
    ],
)
def test_whoever_is_refused_leaves_no_trace(
    sale_at: Install,
    set_clock: SetClock,
    store: Redis,
    outcome: str,
    at: int,
    more: dict[str, int],
) -> None:
    sale = sale_at(stock=1 if outcome == "SOLD_OUT" else 5, **more)
    parts = [scripts.key(sale, part) for part in scripts.PARTS]
    if at > 1000:
        set_clock(sale, 1000)
        assert scripts.run(store, "grab", sale, "alice", "key").outcome == "GRANTED"
    set_clock(sale, at)
    scripts.run(store, "advance", sale)
    before = [store.dump(part) for part in parts]
    for n in range(20):
        assert scripts.run(store, "grab", sale, f"loser-{n}", "key").outcome == outcome
    assert [store.dump(part) for part in parts] == before


def test_a_store_that_is_full_is_a_503_and_nothing_is_sold(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    sale = http("POST", "/admin/promotions", {**offer, "publishTime": 0}).body["promotionId"]
    server = server_of(store, sale)
    server.config_set("maxmemory", 1)
    try:
        answer = http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    finally:
        server.config_set("maxmemory", 0)
    assert (answer.status, answer.body["code"]) == (503, "STORE_UNAVAILABLE")
    assert store.hlen(scripts.key(sale, "customers")) == 0


def test_a_mark_that_is_renewed_knows_winners_that_were_restored_meanwhile(
    promotion: Install, outside: Outside, store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = promotion(stock=1)
    for name in ("alice", "bob"):
        grab_coupon(GrabCoupon(sale, name), outside)
    store.hset(scripts.key(sale, "customers"), "dave", "2 4 5 G")
    later = time.monotonic() + over.HOLDS_S
    monkeypatch.setattr(time, "monotonic", lambda: later)
    grab_coupon(GrabCoupon(sale, "carol"), outside)
    assert (over.marked(sale, "bob"), over.marked(sale, "dave")) == ("SOLD_OUT", None)


def test_marks_are_bounded(
    promotion: Install, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: OrderedDict[str, object] = OrderedDict()
    monkeypatch.setattr(over, "_marks", marks)
    monkeypatch.setattr(over, "_MOST_MARKS", 2)
    sales = [promotion(stock=1) for _ in range(4)]
    for sale in sales:
        for name in ("alice", "bob"):
            grab_coupon(GrabCoupon(sale, name), outside)
    assert list(marks) == sales[-2:]


def test_guessed_ids_are_remembered_for_a_moment_and_within_bounds(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: OrderedDict[str, float] = OrderedDict()
    monkeypatch.setattr(missing, "_never_heard_of", remembered)
    monkeypatch.setattr(missing, "_REMEMBERED_IDS", 3)
    asked: list[str] = []
    monkeypatch.setattr(missing, "find_promotion", asked.append)
    for name in ("a", "a", "b", "c", "d", "d"):
        assert missing.verdict_on(name) == "UNKNOWN_PROMOTION"
    assert asked == ["a", "b", "c", "d"]
    assert list(remembered) == ["b", "c", "d"]
    later = time.monotonic() + 5
    monkeypatch.setattr(time, "monotonic", lambda: later)
    missing.verdict_on("d")
    assert asked[-2:] == ["d", "d"]


class _RefusesAPart:
    """A broker's client that takes the second message of a batch only."""

    def publish_batch(self, **_: Any) -> dict[str, Any]:
        return {"Successful": [{"Id": "1"}], "Failed": [{"Id": "0"}]}

    send_message_batch = publish_batch


@pytest.mark.parametrize("publisher", [SnsPublisher, SqsPublisher])
def test_what_a_broker_refuses_of_a_batch_is_not_told_as_published(
    publisher: Callable[[Any, str], EventPublisher],
) -> None:
    events: list[AnyEvent] = [
        from_mapping({"type": "CouponGilded", "promotionId": "sale", "version": n, "at": 1})
        for n in (1, 2)
    ]
    assert publisher(_RefusesAPart(), "target").publish(events) == events[1:]
