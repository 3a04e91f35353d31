"""Grabs with an Idempotency-Key: what is a repeat, and whose key it is."""

from collections.abc import Callable

import pytest
from redis import Redis

from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon

pytestmark = pytest.mark.store

Install = Callable[..., str]
SetClock = Callable[[str, int], None]


def test_more_than_one_coupon_each_up_to_the_limit_by_their_keys(
    sale_at: Install, set_clock: SetClock, outside: Outside
) -> None:
    sale = sale_at(stock=9, coupons_per_customer=2)
    set_clock(sale, 1000)

    def grab(name: str | None) -> tuple[str, int]:
        key = name and f"{name}-{sale}"
        answer = grab_coupon(GrabCoupon(sale, "alice", key), outside)
        return answer.outcome, answer.coupon.number if answer.coupon else 0

    assert [grab(key) for key in ("k1", "k1", "k2", "k2", "k3", None, "k1")] == [
        ("GRANTED", 1), ("REPEATED", 1), ("GRANTED", 2), ("REPEATED", 2),
        ("LIMIT_REACHED", 0), ("LIMIT_REACHED", 0), ("REPEATED", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("limit", [1, 3])
def test_a_key_that_comes_back_for_another_request_is_refused(
    promotion: Install, outside: Outside, limit: int
) -> None:
    one, other = (promotion(coupons_per_customer=limit) for _ in range(2))
    assert grab_coupon(GrabCoupon(one, "alice", f"key-of-{one}"), outside).outcome == "GRANTED"
    answer = grab_coupon(GrabCoupon(other, "alice", f"key-of-{one}"), outside)
    assert answer.outcome == "IDEMPOTENCY_KEY_REUSED"
    assert grab_coupon(GrabCoupon(other, "bob", f"key-of-{one}"), outside).outcome == "GRANTED"
    assert grab_coupon(GrabCoupon(one, "alice", f"key-of-{one}"), outside).outcome == "REPEATED"


def test_a_losers_key_is_not_kept(promotion: Install, outside: Outside, store: Redis) -> None:
    sale = promotion(stock=1)
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert grab_coupon(GrabCoupon(sale, "bob", f"key-{sale}"), outside).outcome == "SOLD_OUT"
    assert list(store.scan_iter(match=f"*key-{sale}*")) == []


def test_two_customers_never_share_a_key_however_they_are_written(
    promotion: Install, outside: Outside
) -> None:
    """An id may have colons, and so may a key."""
    one, other = promotion(), promotion()
    key = f"key-of-{one}"
    assert grab_coupon(GrabCoupon(one, "alice", f"x:{key}"), outside).outcome == "GRANTED"
    assert grab_coupon(GrabCoupon(other, "alice:x", key), outside).outcome == "GRANTED"
