"""What comes in from outside: what is taken, in which form, and how the rest is refused."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib.door.checks import MAX_TIME_MS, NO_END, discount, time_ms
from chalicelib.door.models import OFFER
from chalicelib.shapes import number
from tests.unit.conftest import Http

Ask = Callable[..., Http]


BAD_IDS: list[Any] = [
    None, "", " ", "a b", "x" * 129, "ä", "\ud800", "{a}", "a\n", True, 1.5, [], {}, "\u0000",
    "../x", '"', float("nan"), float("inf"), 10**30,
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_IDS, ids=repr)
@pytest.mark.parametrize("field", ["promotionId", "customerId"])
def test_a_bad_id_in_a_grab_is_named(http: Ask, field: str, value: Any) -> None:
    body = {"promotionId": "sale", "customerId": "alice", field: value}
    answer = http("POST", "/command/coupons", body)
    assert (answer.status, answer.body["code"]) == (400, "INVALID")
    assert list(answer.body["errors"]) == [field]


# All of them are a tenth to Python's Decimal.
NOT_PLAIN = ["0.1_0", "+0.1", " 0.1", "0.1\n", "\uff10.1", "1e-1", "0.\u0661"]
BAD_OFFERS: dict[str, list[Any]] = {
    "numberOfCoupons": [
        None, 0, -1, 1.5, 10_000_001, "many", "", True, [], {}, float("nan"), 10**400, "1e3",
    ],
    "discount": [
        None, 0, -0.5, 1.01, 2, "cheap", "", True, [], {}, float("nan"), float("inf"), 0.12345,
        "1e-400", "0" * 40, "NaN", "sNaN", 10**400, *NOT_PLAIN,
    ],
    "publishTime": [
        None, -1, 1.5, NO_END, "2029-9-31", "2029-9-1T\uff11:00", "tomorrow",
        "2030-02-30", "2030-13-01T00:00:00Z", "", True, [], {},
        4_102_444_800_001, float("-inf"), "1969-12-31T23:59:59Z",
        # A day without dashes, and seconds: as milliseconds they would be 1970, and open at once.
        "20291201", 20291201, "1890777600", 1890777600, 10**12 - 1, 1, False,
    ],
    "finishTime": [
        None, 1, 1_600_000_000_000, "2020-01-01", "2101-01-01", "2017-9-31T12:00:00Z",
        "ä", {}, NO_END - 1, NO_END + 1,
    ],
    "couponsPerCustomer": [0, 101, 1.5, "many", True],
    "holdSeconds": [-1, 86_401, 1.5, "long", True],
    "itemId": ["", "a b", 1.5, [], "never-made"],
    "colour": ["red"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"), [(f, v) for f, values in BAD_OFFERS.items() for v in values], ids=repr
)
def test_a_bad_field_of_a_promotion_is_named_and_nothing_is_created(
    http: Ask, offer: dict[str, Any], field: str, value: Any
) -> None:
    answer = http("POST", "/admin/promotions", {**offer, field: value})
    assert (answer.status, answer.body["code"]) == (400, "INVALID")
    assert list(answer.body["errors"]) == [field]
    assert http("GET", "/query/promotions").body == []


@pytest.mark.parametrize("value", [*NOT_PLAIN, "1_0", "0", "0.001", "1000000001", "1.", "."])
def test_a_bad_price_is_named(http: Ask, value: str) -> None:
    answer = http("POST", "/admin/items", {"name": "Kettle", "listPrice": value})
    assert (answer.status, list(answer.body["errors"])) == (400, ["listPrice"])


@pytest.mark.parametrize("value", [0.5, "0.50", ".5", "00.5"])
def test_a_price_may_be_a_number_or_its_digits(http: Ask, value: Any) -> None:
    answer = http("POST", "/admin/items", {"name": "Kettle", "listPrice": value})
    assert (answer.status, answer.body["listPrice"]) == (201, 0.5)


def picture(http: Ask, address: str) -> Http:
    return http("POST", "/admin/items", {"name": "Kettle", "listPrice": 1, "picture": address})


@pytest.mark.parametrize("bad", [*'"<>\\^`{|} \t\n', "\x7f", "ä"])
def test_a_picture_is_an_address_that_can_stand_in_a_page(http: Ask, bad: str) -> None:
    answer = picture(http, f"https://shop.example/{bad}")
    assert (answer.status, list(answer.body["errors"])) == (400, ["picture"])


def test_a_picture_may_have_all_that_an_address_may_have(http: Ask) -> None:
    address = "https://u@[::1]:8/aZ09-._~%20!$&'()*+,;=/?a=b&c=d#e"
    assert picture(http, address).body["picture"] == address


def test_null_is_as_good_as_left_out(http: Ask, offer: dict[str, Any]) -> None:
    left_out = [field.name for field in OFFER.fields if not field.needed]
    answer = http("POST", "/admin/promotions", {**offer, **dict.fromkeys(left_out)})
    assert (answer.status, answer.body["couponsPerCustomer"]) == (201, 1)
    sale = answer.body["promotionId"]
    wish = {"promotionId": sale, "customerId": "alice", "token": None}
    assert http("POST", "/command/coupons", wish).body["code"] == "NOT_STARTED"
    refused = http("POST", "/command/coupons", {**wish, "customerId": None})
    assert refused.body["errors"] == {"customerId": "is required"}


REST = {"numberOfCoupons": 1, "publishTime": 0, "finishTime": "2099-01-01"}


def test_all_faults_of_a_body_are_in_one_answer(http: Ask) -> None:
    answer = http("POST", "/admin/promotions", {"discount": 7, "colour": "red"})
    assert set(answer.body["errors"]) == {
        "numberOfCoupons", "discount", "publishTime", "finishTime", "colour",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "faults"),
    [
        ("POST", "/admin/promotions", {"discount": 7, **REST}, {"idempotency-key", "discount"}),
        ("PUT", "/admin/promotions/a%20b", {"discount": 7, **REST}, {"promotionId", "discount"}),
        ("POST", "/admin/promotions/a%20b/stock", {"add": 0},
         {"promotionId", "idempotency-key", "add"}),
        ("POST", "/admin/promotions/a%20b/stock", [], {"promotionId", "idempotency-key", "body"}),
        ("PUT", "/admin/items/a%20b", {"name": ""}, {"itemId", "name", "listPrice"}),
        ("GET", "/admin/promotions/a%20b/coupons?limit=0&state=x", None,
         {"promotionId", "limit", "state"}),
        ("GET", "/query/promotions/a%20b/coupons?limit=0", None, {"promotionId", "limit"}),
        ("GET", "/query/coupons/a%20b?limit=0", None, {"customerId", "limit"}),
        ("POST", "/command/coupons", {}, {"promotionId", "customerId", "idempotency-key"}),
        ("POST", "/command/coupons/a%20b/payment", {}, {"couponId", "customerId"}),
        ("DELETE", "/command/coupons/a%20b", {}, {"couponId", "customerId"}),
        ("DELETE", "/command/coupons/a%20b?customerId=", None, {"couponId", "customerId"}),
        ("DELETE", "/command/coupons/p-1?customerId=", {"customerId": "alice"}, {"customerId"}),
    ],
)  # fmt: skip
def test_the_faults_of_path_query_header_and_body_are_in_one_answer(
    http: Ask, method: str, path: str, body: Any, faults: set[str]
) -> None:
    answer = http(method, path, body, Idempotency_Key="a b")
    assert (answer.status, set(answer.body["errors"])) == (400, faults)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"nonsense", b"[]", b"null", b"7", b'"text"', b"\xff\xfe", b"{",
        "{}".encode("utf-16"), b"[" * 10_000,
        b'{"promotionId":"' + b"x" * 17_000 + b'"}', b'{"a":1e999999999999999999999}[',
    ],
    ids=lambda raw: repr(raw[:20]),
)  # fmt: skip
@pytest.mark.parametrize("path", ["/command/coupons", "/admin/promotions"])
def test_a_body_that_is_no_object_is_refused(http: Ask, path: str, raw: bytes) -> None:
    answer = http("POST", path, raw=raw)
    assert (answer.status, answer.body["code"]) == (400, "INVALID")
    assert list(answer.body["errors"]) == ["body"]


@pytest.mark.parametrize("path", ["/command/coupons", "/admin/promotions"])
def test_a_field_that_is_there_twice_is_named(http: Ask, path: str) -> None:
    raw = b'{"customerId":"alice","promotionId":"p","b":1,"customerId":"alice","b":[{"b":1}]}'
    answer = http("POST", path, raw=raw)
    assert (answer.status, answer.body["code"]) == (400, "INVALID")
    assert answer.body["errors"] == {"b": "is there twice", "customerId": "is there twice"}


@pytest.mark.parametrize("given", [0.1, "0.1", 1, "0.1000"])
def test_discounts_are_exact(http: Ask, offer: dict[str, Any], given: Any) -> None:
    answer = http("POST", "/admin/promotions", {**offer, "discount": given})
    assert (answer.status, answer.body["discount"]) == (201, float(given))


def test_every_discount_prints_as_it_was_given() -> None:
    for step in range(1, 10_001):
        text = f"{step / 10_000:.4f}"
        shown = json.dumps(number(discount.take(text)))
        assert f"{float(shown):.4f}" == text
        assert len(shown) <= len(text)


@pytest.mark.parametrize(
    "given", ["2033-05-18T03:33:20Z", "2033-05-18T05:33:20+02:00", "2033-05-18T03:33:20",
              2_000_000_000_000, "2000000000000"],
)  # fmt: skip
def test_times_are_epoch_ms_or_iso_8601(http: Ask, offer: dict[str, Any], given: Any) -> None:
    answer = http("POST", "/admin/promotions", {**offer, "finishTime": given})
    assert (answer.status, answer.body["finishTime"]) == (201, 2_000_000_000_000)


@pytest.mark.parametrize(
    "path",
    [
        "/query/coupons/a%20b", "/query/coupons/" + "x" * 129, "/query/coupons/%C3%A4",
        "/query/coupons/alice?limit=0", "/query/coupons/alice?limit=101",
        "/query/coupons/alice?limit=x", "/query/coupons/alice?after=%20",
        "/query/promotions/%7Ba%7D", "/query/promotions/sale/coupons?after=-1",
        "/query/promotions/sale/coupons?after=x",
    ],
)  # fmt: skip
def test_a_bad_query_is_refused_by_name(http: Ask, path: str) -> None:
    answer = http("GET", path)
    assert (answer.status, answer.body["code"]) == (400, "INVALID")


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/query/coupons/alice?limit=1&limit=2", "limit"),
        ("GET", "/query/coupons/alice?after=a&after=a", "after"),
        ("GET", "/query/promotions/sale/coupons?after=1&limit=1&after=2", "after"),
        ("GET", "/admin/promotions?limit=1&limit=1", "limit"),
        ("GET", "/admin/promotions/sale/coupons?state=PAID&state=REVOKED", "state"),
        ("DELETE", "/command/coupons/sale-2?customerId=alice&customerId=bob", "customerId"),
    ],
)
def test_a_query_that_names_a_field_twice_is_refused(
    http: Ask, method: str, path: str, name: str
) -> None:
    answer = http(method, path)
    assert (answer.status, answer.body["code"]) == (400, "INVALID")
    assert answer.body["errors"] == {name: "is there twice"}


def test_a_query_that_names_a_customer_twice_is_refused_beside_a_body_too(http: Ask) -> None:
    path = "/command/coupons/sale-2?customerId=alice&customerId=bob"
    answer = http("DELETE", path, {"customerId": "alice"})
    assert (answer.status, answer.body["errors"]) == (400, {"customerId": "is there twice"})


def test_what_a_query_says_besides_may_be_there_twice(http: Ask) -> None:
    assert http("GET", "/query/coupons/alice?source=mail&source=app").status == 200


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2029-9-1T8:00:00Z", datetime(2029, 9, 1, 8, tzinfo=UTC)),
        ("2029-10-5", datetime(2029, 10, 5, tzinfo=UTC)),
        ("2029-9-1T8:5:3.5", datetime(2029, 9, 1, 8, 5, 3, 500_000, UTC)),
    ],
)
def test_times_need_no_leading_noughts(
    http: Ask, offer: dict[str, Any], given: str, meant: datetime
) -> None:
    answer = http("POST", "/admin/promotions", {**offer, "finishTime": given})
    assert (answer.status, answer.body["finishTime"]) == (201, meant.timestamp() * 1000)


@pytest.mark.parametrize(
    ("second", "at"),
    [("2038-08-15T15:00:50", 2_165_497_250_000), ("2004-03-15T07:55:47", 1_079_337_347_000),
     ("2029-12-01T10:00:00", 1_890_813_600_000)],
)  # fmt: skip
def test_the_milliseconds_of_an_iso_8601_time_are_exact(second: str, at: int) -> None:
    for ms in range(1000):
        assert time_ms.take(f"{second}.{ms:03d}Z") == at + ms
    assert time_ms.take(f"{second}.999999Z") == at + 999


@pytest.mark.parametrize("given", [0, "0", 10**12, str(10**12), "1990-01-01"])
def test_a_start_in_the_past_is_said_clearly(http: Ask, offer: dict[str, Any], given: Any) -> None:
    answer = http("POST", "/admin/promotions", {**offer, "publishTime": given})
    assert (answer.status, answer.body["state"]) == (201, "ON_SALE")


def test_a_time_that_is_refused_is_told_what_it_could_be(http: Ask, offer: dict[str, Any]) -> None:
    answer = http("POST", "/admin/promotions", {**offer, "publishTime": 1890777600})
    assert answer.body["errors"]["publishTime"] == (
        "must be epoch milliseconds (0, or 13 digits) or an ISO 8601 time, from 1970 to 2100"
    )


@pytest.mark.parametrize("given", [NO_END, str(NO_END)])
def test_one_number_is_no_end(http: Ask, offer: dict[str, Any], given: Any) -> None:
    """An old client that says nothing of an end sends Java's Long.MAX_VALUE."""
    answer = http("POST", "/admin/promotions", {**offer, "finishTime": given})
    assert (answer.status, answer.body["finishTime"]) == (201, MAX_TIME_MS)
