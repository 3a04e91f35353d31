"""Edges of publishing, retiring and paying."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from redis import ConnectionError as StoreAway
from redis import Redis

from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.pay import PayCoupon, pay_coupon
from tests.unit.conftest import Broker, Http, metrics

pytestmark = pytest.mark.store

Install = Callable[..., str]
SetClock = Callable[[str, int], None]


def test_a_store_that_goes_away_after_publishing_costs_a_repeat_and_no_error(
    promotion: Install,
    store: Redis,
    broker: Broker,
    outside: Outside,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def away(*_: Any) -> int:
        raise StoreAway

    sale = promotion()
    monkeypatch.setattr(store, "xdel", away)
    answer = grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert (answer.outcome, answer.published) == ("GRANTED", True)
    assert metrics(capsys.readouterr().out, "outbox_not_trimmed")
    assert store.xlen(scripts.key(sale, "outbox")) == 1


def test_retiring_is_refused_while_an_event_waits(
    promotion: Install, store: Redis, broker: Broker, outside: Outside
) -> None:
    sale = promotion(stock=1)
    broker.away = True
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert scripts.run(store, "retire", sale, 60, 0).outcome == "BUSY"
    assert {store.ttl(scripts.key(sale, part)) for part in ("promotion", "customers")} == {-1}


def test_retiring_is_refused_while_a_hold_is_open(
    sale_at: Install, set_clock: SetClock, store: Redis, outside: Outside
) -> None:
    sale = sale_at(hold_seconds=5)
    set_clock(sale, 1000)
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    set_clock(sale, 2000)
    assert scripts.run(store, "advance", sale).outcome == "FINISHED"
    store.delete(scripts.key(sale, "outbox"))
    assert scripts.run(store, "retire", sale, 60, 0).outcome == "BUSY"


def test_a_payment_told_again_without_its_reference_is_a_repeat(
    sale_at: Install, set_clock: SetClock, outside: Outside
) -> None:
    sale = sale_at(hold_seconds=1)
    set_clock(sale, 1000)
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    answers = [pay_coupon(PayCoupon(sale, 1, "alice", r), outside) for r in ("r1", None)]
    assert [answer.outcome for answer in answers] == ["PAID", "REPEATED"]
    assert answers[0].coupon == answers[1].coupon


def test_warm_calls_make_no_client(
    http: Callable[..., Http], promotion: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = promotion()
    body = {"promotionId": sale, "customerId": "alice"}
    assert http("POST", "/command/coupons", body).status == 201
    made: list[Any] = []
    make: Any = boto3.client

    def client(*args: Any, **more: Any) -> Any:
        made.append(args)
        return make(*args, **more)

    monkeypatch.setattr(boto3, "client", client)
    for n in range(3):
        assert http("POST", "/command/coupons", {**body, "customerId": f"c-{n}"}).status == 201
    assert made == []


def test_ones_own_hold_behind_ten_others_ends_on_the_millisecond(
    sale_at: Install, set_clock: SetClock, outside: Outside
) -> None:
    sale = sale_at(stock=11, closes_at=9000, hold_seconds=1)
    set_clock(sale, 1000)
    for n in range(1, 12):
        grab_coupon(GrabCoupon(sale, f"customer-{n}"), outside)
    set_clock(sale, 2000)
    # By their members the ten that any call releases are 1, 10, 11, 2, ... 8.
    again = grab_coupon(GrabCoupon(sale, "customer-9"), outside)
    assert (again.outcome, again.coupon and again.coupon.number) == ("GRANTED", 12)
