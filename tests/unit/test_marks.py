"""The marks of sales that are over: who comes too late is answered by the process."""

import time
from collections.abc import Callable

import pytest
from redis import Redis

from chalicelib.commands import over, scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from tests.unit.conftest import server_of

pytestmark = pytest.mark.store


def test_a_mark_answers_losers_and_lets_winners_through(
    promotion: Callable[..., str], outside: Outside, store: Redis
) -> None:
    sale = promotion(stock=1)
    won = grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert over.marked(sale, "bob") is None
    assert grab_coupon(GrabCoupon(sale, "bob"), outside).outcome == "SOLD_OUT"
    assert over.marked(sale, "carol") == "SOLD_OUT"
    assert over.marked(sale, "alice") is None
    assert grab_coupon(GrabCoupon(sale, "alice"), outside).coupon == won.coupon
    server = server_of(store, sale)
    calls = server.info("stats")["total_commands_processed"]
    assert grab_coupon(GrabCoupon(sale, "carol"), outside).outcome == "SOLD_OUT"
    assert server.info("stats")["total_commands_processed"] == calls + 1  # our own INFO


def test_a_sale_that_is_only_out_of_stock_gets_no_mark(
    promotion: Callable[..., str], outside: Outside
) -> None:
    sale = promotion(stock=1, hold_seconds=600)
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert grab_coupon(GrabCoupon(sale, "bob"), outside).outcome == "SOLD_OUT"
    assert over.marked(sale, "carol") is None


def test_a_mark_lasts_for_a_second(
    promotion: Callable[..., str], outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = promotion(stock=1)
    for name in ("alice", "bob"):
        grab_coupon(GrabCoupon(sale, name), outside)
    later = time.monotonic() + over.HOLDS_S
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert over.marked(sale, "carol") is None


def test_a_mark_is_renewed_by_who_the_customers_are_and_not_by_their_number(
    promotion: Callable[..., str],
    outside: Outside,
    store: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process has recovered the promotion: bob has the coupon, and alice has none."""
    sale = promotion(stock=1)
    for name in ("alice", "loser"):
        grab_coupon(GrabCoupon(sale, name), outside)
    customers = scripts.key(sale, "customers")
    coupon = store.hget(customers, "alice")
    store.hset(customers, "bob", str(coupon))
    store.hdel(customers, "alice")
    later = time.monotonic() + over.HOLDS_S
    monkeypatch.setattr(time, "monotonic", lambda: later)
    grab_coupon(GrabCoupon(sale, "loser"), outside)
    assert grab_coupon(GrabCoupon(sale, "bob"), outside).outcome == "REPEATED"
    assert over.marked(sale, "loser") == "SOLD_OUT"
