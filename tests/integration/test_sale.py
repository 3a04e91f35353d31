"""Whole sales over HTTP, through real queues, into real tables, with either publisher."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import redis

from localstack import provision
from tests.integration.conftest import Shop, eventually


def test_a_crowd_gets_exactly_what_there_is_and_the_tables_show_it(shop: Shop) -> None:
    sale = shop.create(coupons=20)
    eventually(lambda: [p["promotionId"] for p in shop.ask("/query/promotions")[1]], [sale])
    with ThreadPoolExecutor(32) as crowd:
        answers = list(crowd.map(lambda n: shop.grab(sale, f"customer-{n}"), range(300)))
    won = [body for status, body in answers if status == 201]
    assert len(won) == 20
    assert {(s, b["code"]) for s, b in answers if s != 201} == {(409, "SOLD_OUT")}
    feed = f"/query/promotions/{sale}/coupons"
    eventually(lambda: len(shop.ask(feed)[1]), 20)
    stored = shop.ask(feed)[1]
    assert stored == sorted(won, key=lambda coupon: coupon["number"])
    assert [coupon["number"] for coupon in stored] == list(range(1, 21))
    winner = won[0]["customerId"]
    assert shop.ask(f"/query/coupons/{winner}") == (200, [won[0]])
    expected = ["PromotionStarted", *["CouponGrabbed"] * 20, "PromotionFinished"]
    eventually(lambda: shop.types(sale), expected)
    eventually(lambda: shop.ask("/query/promotions")[1], [])


def test_a_trailing_slash_of_an_old_client_is_understood(shop: Shop) -> None:
    assert shop.ask("/query/promotions/")[0] == 200
    assert shop.ask("/command/coupons/", {})[0] == 400


def test_an_unknown_path_is_not_found(shop: Shop) -> None:
    assert (shop.ask("/nothing/here")[0], shop.ask("/")[0]) == (404, 404)


def test_an_encoded_id_in_a_path_is_the_id(shop: Shop) -> None:
    sale = shop.create(coupons=1)
    assert shop.grab(sale, "alice@example.com")[0] == 201
    path = "/query/coupons/alice%40example.com"
    eventually(lambda: len(shop.ask(path)[1]), 1)


def test_what_is_due_happens_without_traffic_and_never_early(shop: Shop) -> None:
    """How late it happens is a figure of `make bench`."""
    sales = {}
    for _ in range(8):
        now = shop.now()
        due = {"publishTime": now + 1500, "finishTime": now + 4000}
        sales[shop.create(5, **due)] = due
    expected = ["PromotionStarted", "PromotionFinished"]
    for sale, due in sales.items():
        eventually(partial(shop.types, sale), expected)
        started, finished = shop.journal(sale)
        assert due["publishTime"] <= started["at"] <= finished["at"]
        assert due["finishTime"] <= finished["at"]


def states(shop: Shop, customer: str) -> list[str]:
    return [coupon["state"] for coupon in shop.ask(f"/query/coupons/{customer}")[1]]


def released_and_sold_again(shop: Shop, hold_s: int) -> str | None:
    """A sale of one coupon that alice lets go and bob pays; None if the hold was too short."""
    sale = shop.create(1, holdSeconds=hold_s)
    status, coupon = shop.grab(sale, f"alice-{sale}")
    assert status == 201
    status, early = shop.grab(sale, "bob")
    if status == 201:
        assert early["grabbedAt"] >= coupon["deadline"]
        return None
    assert status == 409
    eventually(lambda: states(shop, f"alice-{sale}"), ["RELEASED"])
    eventually(lambda: shop.types(sale)[-1], "CouponReleased")  # the journal has a queue of its own
    released = shop.journal(sale)[-1]
    assert released["at"] >= coupon["deadline"]
    status, coupon = shop.grab(sale, "bob")
    assert status == 201
    status, paid = shop.ask(f"/command/coupons/{sale}-2/payment", {"customerId": "bob"})
    if status == 409:
        assert shop.now() >= coupon["deadline"]
        return None
    assert (status, paid["state"]) == (200, "PAID")
    return sale


def in_time(attempt: Callable[[int], str | None], *seconds: int) -> str:
    """What a sale that has `seconds` for its requests gives; more where the machine is busy."""
    return next(sale for sale in map(attempt, seconds) if sale)


def test_an_unpaid_coupon_is_released_without_traffic_and_sold_again(shop: Shop) -> None:
    sale = in_time(lambda hold_s: released_and_sold_again(shop, hold_s), 1, 5, 25)
    status, late = shop.ask(f"/command/coupons/{sale}-1/payment", {"customerId": f"alice-{sale}"})
    assert (status, late["code"]) == (409, "HOLD_EXPIRED")
    eventually(lambda: states(shop, f"alice-{sale}"), ["REFUND_DUE"])
    eventually(lambda: shop.types(sale)[-2:], ["PromotionFinished", "RefundRecorded"])


def refused_before_its_start(shop: Shop, opens_in_s: int) -> str | None:
    """A sale that has begun, and has refused alice before; None if it began too soon."""
    sale = shop.create(1, opens_in_ms=opens_in_s * 1000)
    status, problem = shop.grab(sale, "alice")
    if status == 201:
        return None
    assert (status, problem["code"]) == (403, "NOT_STARTED")
    while (now := shop.now()) < problem["opensAt"]:
        time.sleep((problem["opensAt"] - now) / 1000)
    return sale


def test_before_the_start_403_and_201_from_then_on(shop: Shop) -> None:
    sale = in_time(lambda opens_in_s: refused_before_its_start(shop, opens_in_s), 1, 5, 25)
    assert shop.grab(sale, "alice")[0] == 201


def test_sold_out_on_all_workers_and_given_back_is_sold_again_by_any(shop: Shop) -> None:
    sale = shop.create(1, holdSeconds=60)
    assert shop.grab(sale, "alice")[0] == 201
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda n: shop.grab(sale, f"late-{n}")[0], range(40)))
    assert set(answers) == {409}
    shop.ask(f"/command/coupons/{sale}-1?customerId=alice", method="DELETE")
    assert shop.grab(sale, "bob")[0] == 201
    eventually(lambda: shop.ask("/query/coupons/bob")[1] != [], expected=True)


def test_a_wiped_store_is_a_503_and_then_all_is_back_by_itself(shop: Shop) -> None:
    sale = shop.create(5)
    won = shop.grab(sale, "alice")[1]
    with redis.Redis.from_url(shop.cloud.environ["REDIS_URL"]) as store:
        store.flushall()
    status, problem = shop.grab(sale, "bob")
    assert (status, problem["code"]) == (503, "RECOVERING")
    eventually(lambda: shop.grab(sale, "bob")[0], 201)
    assert shop.grab(sale, "alice") == (200, won)
    assert [shop.grab(sale, f"c-{n}")[0] for n in range(5)] == [201] * 3 + [409] * 2
    eventually(lambda: shop.types(sale).count("PromotionRecovered"), 1)
    eventually(lambda: shop.ask(f"/admin/promotions/{sale}/audit"), (200, []))


def test_poison_is_seen_and_what_is_sent_on_is_not_doubled(shop: Shop) -> None:
    sale = shop.create(2)
    queue = "events" if shop.cloud.environ["PUBLISHER"] == "sqs" else "coupons"
    sqs = provision.session(shop.cloud.environ["AWS_ENDPOINT_URL"]).client("sqs")
    dlq = sqs.get_queue_url(QueueName=f"seckill-local-{queue}-dlq")["QueueUrl"]
    shop.grab(sale, f"alice-{sale}")
    eventually(lambda: len(shop.types(sale)), 2)
    for event in shop.journal(sale):
        sqs.send_message(QueueUrl=dlq, MessageBody=json.dumps(event))
    eventually(lambda: shop.ask("/admin/dead-letters")[1][queue]["count"], 2)
    assert shop.ask(f"/admin/dead-letters/{queue}", {}) == (200, {"sent": 2})
    eventually(lambda: shop.ask("/admin/dead-letters")[1][queue]["count"], 0)
    assert shop.types(sale) == ["PromotionStarted", "CouponGrabbed"]
    assert states(shop, f"alice-{sale}") == ["GRABBED"]
    assert shop.ask("/admin/dead-letters/nothing", {})[0] == 404
