"""Items, and the prices that promotions have by them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from chalicelib.projections import active_promotions
from chalicelib.shapes import price_of
from tests.unit.conftest import Http, create
from tests.unit.test_http import receive

Ask = Callable[..., Http]


def test_a_price_is_list_price_times_discount_to_the_cent(http: Ask, offer: dict[str, Any]) -> None:
    kettle = {"name": "Kettle", "listPrice": 19.99, "picture": "https://shop.example/kettle.png"}
    item = http("POST", "/admin/items", kettle)
    assert (item.status, item.body["listPrice"]) == (201, 19.99)
    sale = create(http, offer, publishTime=0, itemId=item.body["itemId"], holdSeconds=60)
    for event in receive("active-promotions"):
        active_promotions.on_event(event)
    shown = http("GET", f"/query/promotions/{sale}").body
    assert (shown["price"], shown["item"]) == (3.0, item.body)  # 2.9985
    assert http("GET", "/query/promotions").body == [shown]
    body = {"promotionId": sale, "customerId": "alice", "price": 0.01}
    assert http("POST", "/command/coupons", body).body["price"] == 3.0
    cheap = {"customerId": "alice", "price": 0.01, "amount": 0.01}
    assert http("POST", f"/command/coupons/{sale}-1/payment", cheap).body["price"] == 3.0


@pytest.mark.parametrize(
    ("list_price", "discount", "price"),
    [("0.04", "0.1", "0.01"), ("0.01", "0.0001", "0.01"), ("0.01", "1", "0.01"),
     ("0.15", "0.1", "0.02"), ("19.99", "0.15", "3.00")],
)  # fmt: skip
def test_nothing_is_free(list_price: str, discount: str, price: str) -> None:
    assert price_of(Decimal(list_price), Decimal(discount)) == Decimal(price)


def test_an_item_can_be_edited_and_a_set_price_stays(http: Ask, offer: dict[str, Any]) -> None:
    item = http("POST", "/admin/items", {"name": "Kettle", "listPrice": 20}).body["itemId"]
    sale = create(http, offer, publishTime=0, itemId=item)
    edited = http("PUT", f"/admin/items/{item}", {"name": "Big kettle", "listPrice": "40.00"})
    assert (edited.status, edited.body) == (
        200, {"itemId": item, "name": "Big kettle", "listPrice": 40.0},
    )  # fmt: skip
    assert http("GET", f"/query/items/{item}").body == edited.body
    assert http("GET", f"/admin/promotions/{sale}").body["price"] == 3.0


def test_an_unknown_item_is_not_found(http: Ask) -> None:
    body = {"name": "Kettle", "listPrice": 20}
    assert http("PUT", "/admin/items/never-made", body).body["code"] == "UNKNOWN_ITEM"
    assert http("GET", "/query/items/never-made").status == 404


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None), ("name", ""), ("name", " "), ("name", "x" * 201), ("name", "a\nb"),
        ("name", 7), ("name", "\ud800"), ("listPrice", None), ("listPrice", 0),
        ("listPrice", -1), ("listPrice", 0.001), ("listPrice", 1e10), ("listPrice", "NaN"),
        ("picture", "javascript:alert(1)"), ("picture", "https://a b"), ("picture", 7),
        ("colour", "red"),
    ],
)  # fmt: skip
def test_a_bad_item_is_refused_by_its_field(http: Ask, field: str, value: Any) -> None:
    answer = http("POST", "/admin/items", {"name": "Kettle", "listPrice": 20, field: value})
    assert (answer.status, list(answer.body["errors"])) == (400, [field])
