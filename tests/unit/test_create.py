"""A promotion is created once, however often the operator's client has to ask."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from chalicelib.commands.promotions import PromotionRow
from tests.unit.conftest import Http, state_of

pytestmark = pytest.mark.store

Ask = Callable[..., Http]


def test_a_key_makes_one_promotion_of_many_requests(http: Ask, offer: dict[str, Any]) -> None:
    first = http("POST", "/admin/promotions", offer, Idempotency_Key="monday")
    again = http("POST", "/admin/promotions", offer, Idempotency_Key="monday")
    assert (first.status, again.status) == (201, 200)
    assert again.body == first.body
    assert PromotionRow.count() == 1


def test_many_requests_with_a_key_at_once_make_one_promotion(
    http: Ask, offer: dict[str, Any]
) -> None:
    def create(_: int) -> Http:
        return http("POST", "/admin/promotions", offer, Idempotency_Key="at-once")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(16)))
    assert sorted({answer.status for answer in answers}) == [200, 201]
    assert len({answer.body["promotionId"] for answer in answers}) == 1
    assert PromotionRow.count() == 1


def test_the_same_offer_may_come_in_another_form(http: Ask, offer: dict[str, Any]) -> None:
    http("POST", "/admin/promotions", offer, Idempotency_Key="forms")
    other = {**offer, "numberOfCoupons": "5", "discount": "0.150", "holdSeconds": 0}
    assert http("POST", "/admin/promotions", other, Idempotency_Key="forms").status == 200


def test_a_key_of_another_offer_is_refused(http: Ask, offer: dict[str, Any]) -> None:
    sale = http("POST", "/admin/promotions", offer, Idempotency_Key="used").body["promotionId"]
    other = {**offer, "numberOfCoupons": 6}
    answer = http("POST", "/admin/promotions", other, Idempotency_Key="used")
    assert (answer.status, answer.body["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert http("GET", f"/admin/promotions/{sale}").body["numberOfCoupons"] == 5


def test_a_repeat_after_an_edit_shows_the_promotion_as_it_is(
    http: Ask, offer: dict[str, Any]
) -> None:
    sale = http("POST", "/admin/promotions", offer, Idempotency_Key="edited").body["promotionId"]
    http("PUT", f"/admin/promotions/{sale}", {**offer, "numberOfCoupons": 9, "discount": 0.5})
    again = http("POST", "/admin/promotions", offer, Idempotency_Key="edited")
    assert (again.status, again.body) == (200, http("GET", f"/admin/promotions/{sale}").body)
    assert (again.body["numberOfCoupons"], again.body["discount"]) == (9, 0.5)


def test_a_repeat_never_puts_a_sale_into_the_store_again(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    """What the store has lost is for the recovery: installed anew it would sell twice."""
    now = {**offer, "publishTime": 0}
    sale = http("POST", "/admin/promotions", now, Idempotency_Key="lost").body["promotionId"]
    store.delete(f"seckill:{{{sale}}}:promotion")
    assert http("POST", "/admin/promotions", now, Idempotency_Key="lost").status == 200
    assert state_of(store, sale) == {}


def test_without_a_key_each_request_makes_a_promotion(http: Ask, offer: dict[str, Any]) -> None:
    made = {http("POST", "/admin/promotions", offer).body["promotionId"] for _ in range(2)}
    assert len(made) == 2


def test_a_bad_key_is_refused_and_nothing_is_created(http: Ask, offer: dict[str, Any]) -> None:
    answer = http("POST", "/admin/promotions", offer, Idempotency_Key="a b")
    assert (answer.status, list(answer.body["errors"])) == (400, ["idempotency-key"])
    assert PromotionRow.count() == 0


def test_a_write_that_was_sent_twice_by_the_client_library_is_one_creation(
    http: Ask, offer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reply gets lost; the library sends again and is told that the row is there."""
    save = PromotionRow.save

    def reply_lost(row: PromotionRow, **more: Any) -> Any:
        save(row, **more)
        return save(row, **more)

    monkeypatch.setattr(PromotionRow, "save", reply_lost)
    answer = http("POST", "/admin/promotions", offer)
    assert (answer.status, answer.body["state"]) == (201, "SCHEDULED")
    assert PromotionRow.count() == 1


def test_a_table_that_refuses_for_another_reason_is_an_outage(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    PromotionRow.delete_table()
    before = store.dbsize()
    answer = http("POST", "/admin/promotions", offer)
    assert (answer.status, answer.body["code"]) == (503, "TABLE_UNAVAILABLE")
    assert store.dbsize() == before
