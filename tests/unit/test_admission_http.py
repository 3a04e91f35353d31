"""Admission by token over HTTP: what customers and operators are answered."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from chalicelib import clients, config, journal
from chalicelib.commands import over, scripts
from chalicelib.commands.admit import TOKEN_LIVES_MS
from chalicelib.commands.decision import Outside
from chalicelib.commands.promotions import find_promotion
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.events import PromotionStarted, parse
from chalicelib.projections import active_promotions
from tests.unit.conftest import Broker, Http, state_of
from tests.unit.test_admission import KeysOf, _one_key, keys

__all__ = ["_one_key", "keys"]

Ask = Callable[..., Http]


def post(http: Ask, path: str, sale: str, customer: str, **more: Any) -> Http:
    return http("POST", f"/command/{path}", {"promotionId": sale, "customerId": customer, **more})


@pytest.fixture
def token_offer(offer: dict[str, Any]) -> dict[str, Any]:
    return {**offer, "publishTime": clients.store_clock_ms() - 1, "admission": "token"}


@pytest.fixture
def sale(http: Ask, token_offer: dict[str, Any]) -> str:
    return str(http("POST", "/admin/promotions", token_offer).body["promotionId"])


def test_the_answers_of_a_sale_with_tokens(http: Ask, sale: str) -> None:
    given = post(http, "tokens", sale, "alice")
    assert (given.status, set(given.body)) == (201, {"token", "expiresAt"})
    assert given.headers["Cache-Control"] == "no-store"
    left_ms = given.body["expiresAt"] - clients.store_clock_ms()
    assert 0 < left_ms <= TOKEN_LIVES_MS
    token = given.body["token"]
    for body, detail in (({}, "missing"), ({"token": f"{token}x"}, "is not one")):
        refused = post(http, "coupons", sale, "alice", **body)
        assert (refused.status, refused.body["code"]) == (403, "TOKEN_REQUIRED")
        assert detail in refused.body["detail"]
    won = post(http, "coupons", sale, "alice", token=token)
    assert won.status == 201
    again = post(http, "coupons", sale, "alice")
    assert (again.status, again.body) == (200, won.body)


def test_before_the_start_there_is_no_token_and_the_answer_says_when_to_come(
    http: Ask, token_offer: dict[str, Any]
) -> None:
    token_offer["publishTime"] = clients.store_clock_ms() + 60_000
    sale = http("POST", "/admin/promotions", token_offer).body["promotionId"]
    early = post(http, "tokens", sale, "alice")
    assert (early.status, early.body["code"]) == (403, "NOT_STARTED")
    assert early.body["opensAt"] == token_offer["publishTime"]
    assert 58 <= int(early.headers["Retry-After"]) <= 60


def test_what_is_over_unknown_or_lost_is_told_as_to_who_grabs(
    http: Ask, sale: str, store: Redis
) -> None:
    assert post(http, "tokens", "never-made", "alice").status == 404
    store.delete(scripts.key(sale, "promotion"))
    lost = post(http, "tokens", sale, "alice")
    assert (lost.status, lost.body["code"]) == (503, "RECOVERING")


def test_a_cancelled_one_is_gone(http: Ask, sale: str) -> None:
    http("DELETE", f"/admin/promotions/{sale}")
    answer = post(http, "tokens", sale, "alice")
    assert (answer.status, answer.body["code"]) == (410, "CANCELLED")
    over.forget(sale)


def test_too_many_requests_for_tokens_are_429(
    http: Ask, sale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADDRESS_RATE", "0.1")
    monkeypatch.setenv("ADDRESS_BURST", "1")
    config.settings.cache_clear()
    assert post(http, "tokens", sale, "alice").headers["RateLimit"].startswith('"address";r=0;t=')
    refused = post(http, "tokens", sale, "bob")
    assert (refused.status, refused.body["code"]) == (429, "THROTTLED")
    assert 1 <= int(refused.headers["Retry-After"]) <= 10


@pytest.mark.parametrize("token", ["", "a b", "x" * 129, "ä", True, [], {}, 1.5], ids=repr)
def test_a_token_that_can_be_none_is_named(http: Ask, sale: str, token: Any) -> None:
    answer = post(http, "coupons", sale, "alice", token=token)
    assert (answer.status, list(answer.body["errors"])) == (400, ["token"])


@pytest.mark.parametrize("field", ["promotionId", "customerId"])
@pytest.mark.parametrize("value", [None, "", "a b", "x" * 129, 1.5, [], "ä"], ids=repr)
def test_a_bad_id_in_a_request_for_a_token_is_named(http: Ask, field: str, value: Any) -> None:
    body = {"promotionId": "sale", "customerId": "alice", field: value}
    answer = http("POST", "/command/tokens", body)
    assert (answer.status, list(answer.body["errors"])) == (400, [field])


@pytest.mark.parametrize("value", ["closed", "", True, 1, [], {}, "TOKEN"], ids=repr)
def test_a_bad_admission_is_named(http: Ask, token_offer: dict[str, Any], value: Any) -> None:
    answer = http("POST", "/admin/promotions", {**token_offer, "admission": value})
    assert (answer.status, list(answer.body["errors"])) == (400, ["admission"])


def test_a_stage_without_keys_creates_no_such_promotion_and_gives_no_tokens(
    http: Ask, token_offer: dict[str, Any], keys: KeysOf
) -> None:
    keys()
    refused = http("POST", "/admin/promotions", token_offer)
    assert (refused.status, list(refused.body["errors"])) == (400, ["admission"])
    later = {**token_offer, "publishTime": clients.store_clock_ms() + 60_000}
    plain = http("POST", "/admin/promotions", {**later, "admission": "open"})
    assert plain.status == 201
    edited = http("PUT", f"/admin/promotions/{plain.body['promotionId']}", later)
    assert (edited.status, list(edited.body["errors"])) == (400, ["admission"])
    answer = post(http, "tokens", plain.body["promotionId"], "alice")
    assert (answer.status, answer.body["code"]) == (409, "NO_TOKENS")


def test_the_operator_sees_how_customers_are_admitted_and_can_edit_it(
    http: Ask, token_offer: dict[str, Any], store: Redis
) -> None:
    token_offer["publishTime"] = clients.store_clock_ms() + 60_000
    made = http("POST", "/admin/promotions", token_offer).body
    path = f"/admin/promotions/{made['promotionId']}"
    assert (made["admission"], http("GET", path).body["admission"]) == ("token", "token")
    del token_offer["admission"]
    assert "admission" not in http("PUT", path, token_offer).body
    assert "admission" not in state_of(store, made["promotionId"])
    token_offer["admission"] = "token"
    assert http("PUT", path, token_offer).body["admission"] == "token"
    row = find_promotion(made["promotionId"])
    assert row is not None
    assert row.offer().admission == "token"


def test_a_customer_sees_on_sale_that_a_token_is_needed(http: Ask, sale: str) -> None:
    url = clients.sqs().get_queue_url(QueueName="seckill-local-active-promotions")["QueueUrl"]
    for message in clients.sqs().receive_message(QueueUrl=url)["Messages"]:
        active_promotions.on_event(parse(message["Body"]))
    assert http("GET", f"/query/promotions/{sale}").body["admission"] == "token"


def test_a_recovery_keeps_the_door_closed(
    http: Ask, sale: str, store: Redis, outside: Outside, broker: Broker
) -> None:
    url = clients.sqs().get_queue_url(QueueName="seckill-local-journal")["QueueUrl"]
    [message] = clients.sqs().receive_message(QueueUrl=url)["Messages"]
    started = parse(message["Body"])
    assert isinstance(started, PromotionStarted)
    assert started.admission == "token"
    journal.append(started)
    store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))
    while (
        done := recover_promotion(sale, outside, Repair(lambda _: True, lambda _: None))
    ).outcome == "WAITING":
        pass
    assert done.outcome == "RECOVERED"
    assert post(http, "coupons", sale, "alice").body["code"] == "TOKEN_REQUIRED"
    token = post(http, "tokens", sale, "alice").body["token"]
    assert post(http, "coupons", sale, "alice", token=token).status == 201
