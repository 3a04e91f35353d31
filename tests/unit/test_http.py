"""The routes, asked with real Lambda events: answers, bad input, broken parts."""

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from chalicelib import clients, config
from chalicelib import publisher as publishing
from chalicelib.commands import scripts
from chalicelib.commands.promotions import close_promotion
from chalicelib.events import parse
from chalicelib.projections import active_promotions, coupons, journal
from tests.unit.conftest import Http, metrics

Ask = Callable[..., Http]
HOUR_MS = 3_600_000


@pytest.fixture
def offer() -> dict[str, Any]:
    now = clients.store_clock_ms()
    return {
        "numberOfCoupons": 2,
        "discount": 0.15,
        "publishTime": now - 1,
        "finishTime": now + HOUR_MS,
    }


@pytest.fixture
def sale(http: Ask, offer: dict[str, Any]) -> str:
    return str(http("POST", "/admin/promotions", offer).body["promotionId"])


def grab(http: Ask, sale: str, customer: Any) -> Http:
    return http("POST", "/command/coupons", {"promotionId": sale, "customerId": customer})


def test_a_created_promotion_is_answered_with_what_was_understood(
    http: Ask, offer: dict[str, Any]
) -> None:
    answer = http("POST", "/admin/promotions", offer)
    assert answer.status == 201
    assert answer.body == {
        **offer,
        "promotionId": answer.body["promotionId"],
        "couponsPerCustomer": 1,
        "holdSeconds": 0,
        "state": "ON_SALE",
        "available": 2,
        "held": 0,
        "sold": 0,
        "version": 1,
        "drift": 1,
    }


def test_the_old_systems_load_plan_finds_a_promotions_id_in_the_list(http: Ask, sale: str) -> None:
    for event in receive("active-promotions"):
        active_promotions.on_event(event)
    listed = json.dumps(http("GET", "/query/promotions").body, separators=(",", ":"))
    assert re.findall(r',"promotionId":"(.+?)","publishTime":', listed) == [sale]


def test_the_answers_of_a_sale(http: Ask, sale: str) -> None:
    won = grab(http, sale, "alice")
    assert won.status == 201
    assert won.body["couponId"] == f"{sale}-1"
    assert (won.body["discount"], won.body["state"]) == (0.15, "GRABBED")
    again = grab(http, sale, "alice")
    assert (again.status, again.body) == (200, won.body)
    assert grab(http, sale, "bob").status == 201
    lost = grab(http, sale, "carol")
    assert (lost.status, lost.body["code"]) == (409, "SOLD_OUT")
    assert lost.headers["Content-Type"] == "application/problem+json"


def test_before_the_start_the_answer_says_when_to_come(http: Ask, offer: dict[str, Any]) -> None:
    offer["publishTime"] = clients.store_clock_ms() + 60_000
    sale = http("POST", "/admin/promotions", offer).body["promotionId"]
    answer = grab(http, sale, "alice")
    assert (answer.status, answer.body["code"]) == (403, "NOT_STARTED")
    assert answer.body["opensAt"] == offer["publishTime"]
    assert 58 <= int(answer.headers["Retry-After"]) <= 60


def test_an_unknown_promotion_is_not_found(http: Ask) -> None:
    answer = grab(http, "never-made", "alice")
    assert (answer.status, answer.body["code"]) == (404, "UNKNOWN_PROMOTION")


def test_a_sale_that_vanished_from_the_store_is_recovering_and_not_sold_out(
    http: Ask, sale: str, store: Redis
) -> None:
    store.delete(scripts.key(sale, "promotion"))
    answer = grab(http, sale, "alice")
    assert (answer.status, answer.body["code"]) == (503, "RECOVERING")
    assert answer.headers["Retry-After"] == "1"


def test_after_the_store_has_forgotten_a_closed_sale_the_tables_answer(
    http: Ask, sale: str, store: Redis
) -> None:
    won = grab(http, sale, "alice")
    for queue in ("coupons", "journal"):
        for event in receive(queue):
            {"coupons": coupons, "journal": journal}[queue].on_event(event)
    close_promotion(sale, "SOLD_OUT")
    store.delete(*(scripts.key(sale, part) for part in ("promotion", "customers")))
    assert grab(http, sale, "bob").body["code"] == "SOLD_OUT"
    assert (grab(http, sale, "alice").status, grab(http, sale, "alice").body) == (200, won.body)


def test_with_several_coupons_each_the_tables_do_not_guess_at_repeats(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    offer["couponsPerCustomer"] = 2
    sale = http("POST", "/admin/promotions", offer).body["promotionId"]
    assert grab(http, sale, "alice").status == 201
    for event in receive("coupons"):
        coupons.on_event(event)
    store.delete(*(scripts.key(sale, part) for part in ("promotion", "customers")))
    assert (grab(http, sale, "alice").status, grab(http, sale, "bob").status) == (503, 503)


def receive(queue: str) -> list[Any]:
    url = clients.sqs().get_queue_url(QueueName=f"seckill-local-{queue}")["QueueUrl"]
    got = clients.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [parse(message["Body"]) for message in got["Messages"]]


def test_a_store_that_is_away_is_a_503_and_never_sold_out(
    http: Ask, sale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    config.settings.cache_clear()
    clients.store.cache_clear()
    answer = grab(http, sale, "alice")
    assert (answer.status, answer.body["code"]) == (503, "STORE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"


def test_a_script_that_breaks_is_a_500_and_a_metric_and_never_sold_out(
    http: Ask, sale: str, store: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    store.hset(scripts.key(sale, "promotion"), "available", "many")
    answer = grab(http, sale, "alice")
    assert (answer.status, answer.body["code"]) == (500, "STORE_ERROR")
    assert metrics(capsys.readouterr().out, "store_error")


def test_with_the_broker_away_the_answer_is_202_and_the_coupon(
    http: Ask, sale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:gone")
    config.settings.cache_clear()
    publishing.publisher.cache_clear()
    answer = grab(http, sale, "alice")
    assert (answer.status, answer.body["couponId"]) == (202, f"{sale}-1")


def test_every_grab_is_counted_by_its_outcome_and_names_no_customer(
    http: Ask, sale: str, capsys: pytest.CaptureFixture[str]
) -> None:
    grab(http, sale, "alice@example.com")
    out = capsys.readouterr().out
    [line] = metrics(out, "grabs")
    assert (line["outcome"], line["promotion"]) == ("GRANTED", sale)
    assert "alice" not in out


def test_a_thousand_warm_calls_use_no_new_connection(http: Ask, sale: str, store: Redis) -> None:
    grab(http, sale, "alice")
    before = store.info("stats")["total_connections_received"]
    threads = threading.active_count()
    for n in range(1000):
        grab(http, sale, f"customer-{n}")
    assert store.info("stats")["total_connections_received"] == before
    assert threading.active_count() == threads


def test_pages_follow_each_other_by_their_link(http: Ask, offer: dict[str, Any]) -> None:
    offer["numberOfCoupons"] = 5
    sale = http("POST", "/admin/promotions", offer).body["promotionId"]
    for n in range(5):
        grab(http, sale, f"customer-{n}")
    for event in receive("coupons"):
        coupons.on_event(event)
    path, numbers = f"/query/promotions/{sale}/coupons", []
    query = "?limit=2"
    while query:
        page = http("GET", path + query)
        numbers += [coupon["number"] for coupon in page.body]
        link = page.headers.get("Link", "<>")
        query = link[1 : link.index(">")]
    assert numbers == [1, 2, 3, 4, 5]


def test_each_customer_sees_their_own_coupons_only(http: Ask, sale: str) -> None:
    for name in ("alice", "bob"):
        grab(http, sale, name)
    for event in receive("coupons"):
        coupons.on_event(event)
    assert [c["customerId"] for c in http("GET", "/query/coupons/alice").body] == ["alice"]
    assert http("GET", "/query/coupons/nobody").body == []


def test_refusals_of_the_framework_have_the_form_of_ours(http: Ask) -> None:
    answer = http("PUT", "/command/coupons")
    assert (answer.status, answer.body["code"]) == (405, "METHOD_NOT_ALLOWED")


def test_health_names_what_is_away(http: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert http("GET", "/health").body == {"store": "ok", "broker": "ok", "tables": "ok"}
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    config.settings.cache_clear()
    clients.store.cache_clear()
    answer = http("GET", "/health")
    assert (answer.status, answer.body["store"]) == (503, "ConnectionError")
    assert answer.body["tables"] == "ok"
