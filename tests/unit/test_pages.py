"""Lists in pages: every row is on exactly one page, whatever the limit."""

from decimal import Decimal
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib.events import CouponGrabbed, CouponRevoked
from chalicelib.projections import coupons
from chalicelib.queries.coupons import coupon_of, coupons_of, coupons_of_promotion
from chalicelib.shapes import Coupon

COUPON: dict[str, Any] = {
    "promotion_id": "sale", "at": 1, "stock": 9, "available": 0, "held": 0, "sold": 9,
    "discount": Decimal("0.5"), "grabbed_at": 1,
}  # fmt: skip


@pytest.fixture
def listed(aws: None) -> list[tuple[int, str]]:
    """Nine coupons of six numbers: the store went back in time, and gave 2 and 3 again."""
    holders = [(1, "a"), (2, "b"), (2, "c"), (3, "d"), (3, "e"), (3, "f"), (4, "g"), (5, "h"),
               (6, "i")]  # fmt: skip
    for version, (number, customer) in enumerate(holders, 1):
        event = CouponRevoked(
            version=version, number=number, customer_id=customer, reason="SOLD_TWICE", **COUPON
        )
        coupons.on_event(event)
    return holders


def pages(limit: int, state: str | None) -> list[list[Coupon]]:
    found, after = [], 0
    while True:
        page = coupons_of_promotion("sale", after, limit, state)
        found.append(page.coupons)
        if page.after is None:
            return found
        after = int(page.after)


@pytest.mark.parametrize("state", [None, "REVOKED"])
@pytest.mark.parametrize("limit", range(1, 11))
def test_coupons_of_one_number_are_never_on_two_pages(
    listed: list[tuple[int, str]], limit: int, state: str | None
) -> None:
    found = pages(limit, state)
    told = [(coupon.number, coupon.customer_id) for page in found for coupon in page]
    assert sorted(told) == listed
    assert [number for number, _ in told] == sorted(number for number, _ in told)
    assert all(len(page) >= limit for page in found[:-1])
    assert all(len(page) < limit + 3 for page in found)
    assert found[-1]


def test_a_customers_coupons_are_each_on_one_page(aws: None) -> None:
    for number in range(1, 12):
        coupons.on_event(
            CouponGrabbed(version=number, number=number, customer_id="alice", **COUPON)
        )
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = coupons_of("alice", after or None, 3)
        found += [coupon.coupon_id for coupon in page.coupons]
        after = page.after
    assert sorted(found) == sorted(f"sale-{number}" for number in range(1, 12))


def test_a_filtered_list_asks_for_many_rows_at_a_time(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 41):
        coupons.on_event(
            CouponGrabbed(version=number, number=number, customer_id="alice", **COUPON)
        )
    for number in (1, 40):
        event = CouponRevoked(
            version=99, number=number, customer_id="alice", reason="SOLD_TWICE", **COUPON
        )
        coupons.on_event(event)
    calls: list[str] = []
    query = Connection.query

    def counted(*args: Any, **more: Any) -> Any:
        calls.append("query")
        return query(*args, **more)

    monkeypatch.setattr(Connection, "query", counted)
    page = coupons_of_promotion("sale", 0, 2, "REVOKED")
    assert ([c.number for c in page.coupons], page.after) == ([1, 40], None)
    held = coupon_of("alice", "sale")
    assert held is not None
    assert held.state == "GRABBED"
    assert len(calls) == 2
