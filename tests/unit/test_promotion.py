"""The admin's part of a promotion's life: edit, restock, cancel, what the operator sees."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from chalicelib import clients
from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.edit_promotion import (
    RestockPromotion,
    restock_promotion,
)
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.promotions import PromotionRow, note_end
from chalicelib.commands.recover import Repair
from chalicelib.commands.sweep import sweep
from chalicelib.events import GENERATION
from chalicelib.projections import active_promotions, coupons
from tests.unit.conftest import Broker, Http, create, server_of, state_of
from tests.unit.test_http import receive

pytestmark = pytest.mark.store

Ask = Callable[..., Http]
HOUR_MS = 3_600_000


def test_an_edit_before_the_start_is_in_the_store_and_in_the_table(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    sale = create(http, offer)
    offer |= {"numberOfCoupons": 7, "discount": 0.5, "couponsPerCustomer": 3, "holdSeconds": 60}
    answer = http("PUT", f"/admin/promotions/{sale}", offer)
    assert answer.status == 200
    assert {name: answer.body[name] for name in offer} == offer
    row = PromotionRow.get(sale)
    assert (row.number_of_coupons, row.discount, row.hold_seconds) == (7, "0.5", 60)
    state = state_of(store, sale)
    assert (state["stock"], state["available"], state["hold_ms"]) == ("7", "7", "60000")


def test_an_edit_that_makes_it_due_starts_it(http: Ask, offer: dict[str, Any]) -> None:
    sale = create(http, offer)
    answer = http("PUT", f"/admin/promotions/{sale}", {**offer, "publishTime": 0})
    assert (answer.status, answer.body["state"]) == (200, "ON_SALE")


def test_a_started_promotion_can_not_be_edited(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    sale = create(http, offer, publishTime=0)
    before = state_of(store, sale)
    answer = http("PUT", f"/admin/promotions/{sale}", offer)
    assert (answer.status, answer.body["code"]) == (409, "ALREADY_STARTED")
    assert state_of(store, sale) == before
    assert PromotionRow.get(sale).publish_time == 0


def test_an_unknown_promotion_can_not_be_changed(http: Ask, offer: dict[str, Any]) -> None:
    for method, path, body in (
        ("PUT", "", offer), ("DELETE", "", None), ("POST", "/stock", {"add": 1}), ("GET", "", None),
    ):  # fmt: skip
        answer = http(method, f"/admin/promotions/never-made{path}", body)
        assert (answer.status, answer.body["code"]) == (404, "UNKNOWN_PROMOTION")


def test_an_invalid_edit_is_refused_by_its_fields(http: Ask, offer: dict[str, Any]) -> None:
    sale = create(http, offer)
    answer = http("PUT", f"/admin/promotions/{sale}", {**offer, "discount": -1})
    assert (answer.status, list(answer.body["errors"])) == (400, ["discount"])


def test_edits_that_race_the_start_are_in_force_or_refused(
    http: Ask,
    offer: dict[str, Any],
    outside: Outside,
    repair: Repair,
    store: Redis,
    broker: Broker,
) -> None:
    """Every answer EDITED is in what was started; nothing changes after the start."""
    # On a busy machine the first sale may begin before it can be edited.
    assert any(
        edits_that_race_the_start(http, offer, outside, repair, store, broker, lead_ms)
        for lead_ms in (120, 1200, 12_000)
    )


def edits_that_race_the_start(
    http: Ask, offer: dict[str, Any], outside: Outside, repair: Repair, store: Redis,
    broker: Broker, lead_ms: int,
) -> bool:  # fmt: skip
    """Whether a sale that begins in `lead_ms` was edited before that; what was answered holds."""
    now = clients.store_clock_ms()
    sale = create(http, offer, publishTime=now + lead_ms)

    def edit(stock: int) -> tuple[int, str, int]:
        fields: list[str | int] = [
            "opens_at",
            now + lead_ms,
            "closes_at",
            now + HOUR_MS,
            "stock",
            stock,
        ]
        fields += ["available", stock, "discount", "0.15", "coupons_per_customer", 1, "hold_ms", 0]
        decision = decide(outside, "edit", sale, secrets.token_hex(4), *fields)
        return stock, decision.outcome, decision.reply.now

    with ThreadPoolExecutor(8) as pool:
        answers: list[tuple[int, str, int]] = []
        while not any(outcome == "ON_SALE" for _, outcome, _ in answers):
            answers += list(pool.map(edit, range(len(answers) + 1, len(answers) + 17)))
    assert {outcome for _, outcome, _ in answers} <= {"EDITED", "ON_SALE"}
    if not any(outcome == "EDITED" for _, outcome, _ in answers):
        return False
    [started] = [
        e for e in broker.published if e.type == "PromotionStarted" and e.promotion_id == sale
    ]
    assert all(at < now + lead_ms for _, outcome, at in answers if outcome == "EDITED")
    assert started.to_dict()["stock"] in {
        stock for stock, outcome, _ in answers if outcome == "EDITED"
    }
    assert int(state_of(store, sale)["stock"]) == started.to_dict()["stock"]
    sweep(outside, repair)
    assert PromotionRow.get(sale).number_of_coupons == started.to_dict()["stock"]
    return True


def test_the_sweep_makes_the_table_follow_an_edit_that_did_not_reach_it(
    http: Ask, offer: dict[str, Any], outside: Outside, repair: Repair
) -> None:
    sale = create(http, offer)
    fields = ["opens_at", offer["publishTime"], "closes_at", offer["finishTime"], "stock", 9]
    fields += ["available", 9, "discount", "0.3", "coupons_per_customer", 1, "hold_ms", 0]
    assert decide(outside, "edit", sale, secrets.token_hex(4), *fields).outcome == "EDITED"
    assert PromotionRow.get(sale).number_of_coupons == 5
    sweep(outside, repair)
    row = PromotionRow.get(sale)
    assert (row.number_of_coupons, row.discount) == (9, "0.3")


def test_a_restock_sells_exactly_as_many_more_after_any_number_of_refusals(
    promotion: Callable[..., str], outside: Outside, store: Redis
) -> None:
    sale = promotion(stock=1, hold_seconds=600)
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    keys = [scripts.key(sale, part) for part in scripts.PARTS]
    server = server_of(store, sale)  # a cluster's pipeline takes no scripts
    grab_script = server.register_script(scripts.source("grab"))
    with server.pipeline(transaction=False) as pipe:
        for n in range(10_000):
            grab_script(keys=keys, args=[sale, f"late-{n}", "k"], client=pipe)
        assert {reply[0] for reply in pipe.execute()} == {"SOLD_OUT"}
    decide(outside, "restock", sale, 5, "once", 100)
    answers = [grab_coupon(GrabCoupon(sale, f"c-{n}"), outside).outcome for n in range(9)]
    assert answers == ["GRANTED"] * 5 + ["SOLD_OUT"] * 4


def test_a_restock_during_the_sale_shows_everywhere(http: Ask, offer: dict[str, Any]) -> None:
    sale = create(http, offer, publishTime=0)
    answer = http("POST", f"/admin/promotions/{sale}/stock", {"add": 3})
    assert (answer.status, answer.body["numberOfCoupons"], answer.body["available"]) == (200, 8, 8)
    assert PromotionRow.get(sale).number_of_coupons == 8
    for event in receive("active-promotions"):
        active_promotions.on_event(event)
    assert http("GET", f"/query/promotions/{sale}").body["available"] == 8


def test_a_restock_with_a_key_is_done_once(http: Ask, offer: dict[str, Any]) -> None:
    sale = create(http, offer, publishTime=0)
    for _ in range(3):
        answer = http(
            "POST", f"/admin/promotions/{sale}/stock", {"add": 3}, idempotency_key="monday"
        )
        assert (answer.status, answer.body["numberOfCoupons"]) == (200, 8)


def test_a_restock_before_the_start_is_no_event(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    sale = create(http, offer)
    assert http("POST", f"/admin/promotions/{sale}/stock", {"add": 3}).body["available"] == 8
    assert state_of(store, sale)["version"] == "0"


def test_a_restock_that_would_be_too_much_is_refused(http: Ask, offer: dict[str, Any]) -> None:
    sale = create(http, offer)
    answer = http("POST", f"/admin/promotions/{sale}/stock", {"add": 10_000_000})
    assert (answer.status, answer.body["code"]) == (409, "TOO_MANY")


@pytest.mark.parametrize("add", [None, 0, -1, 1.5, "many", True, 10_000_001])
def test_a_bad_restock_is_refused_by_its_field(http: Ask, offer: dict[str, Any], add: Any) -> None:
    sale = create(http, offer)
    answer = http("POST", f"/admin/promotions/{sale}/stock", {"add": add})
    assert (answer.status, list(answer.body["errors"])) == (400, ["add"])


def test_a_restock_after_the_end_is_told_how_it_ended(
    promotion: Callable[..., str], outside: Outside, aws: None
) -> None:
    sale = promotion(stock=1)
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert restock_promotion(RestockPromotion(sale, 5), outside) == "SOLD_OUT"


def test_a_cancelled_sale_stops_at_once_and_is_cancelled_once(
    http: Ask, offer: dict[str, Any]
) -> None:
    sale = create(http, offer, publishTime=0)
    for _ in range(2):
        answer = http("DELETE", f"/admin/promotions/{sale}")
        assert (answer.status, answer.body["state"]) == (200, "CANCELLED")
    grab = http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    assert (grab.status, grab.body["code"]) == (410, "CANCELLED")
    types = [event.type for event in receive("journal")]
    assert types == ["PromotionStarted", "PromotionCancelled"]


def test_cancelling_before_the_start_means_it_never_starts(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    sale = create(http, offer)
    assert http("DELETE", f"/admin/promotions/{sale}").body["state"] == "CANCELLED"
    assert [event.type for event in receive("journal")] == ["PromotionCancelled"]


def test_what_is_over_can_not_be_cancelled(http: Ask, offer: dict[str, Any]) -> None:
    sale = create(http, offer, publishTime=0, numberOfCoupons=1)
    http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    answer = http("DELETE", f"/admin/promotions/{sale}")
    assert (answer.status, answer.body["code"]) == (409, "SOLD_OUT")


def test_cancelling_releases_the_unpaid_and_refunds_what_is_paid_later(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    sale = create(http, offer, publishTime=0, numberOfCoupons=50, holdSeconds=600)
    for n in range(35):
        http("POST", "/command/coupons", {"promotionId": sale, "customerId": f"c-{n}"})
    answer = http("DELETE", f"/admin/promotions/{sale}")
    assert (answer.body["held"], answer.body["available"]) == (0, 50)
    late = http("POST", f"/command/coupons/{sale}-1/payment", {"customerId": "c-0"})
    assert (late.status, late.body["code"]) == (410, "CANCELLED")
    assert late.body["coupon"]["state"] == "REFUND_DUE"


def test_the_operator_sees_every_state_and_how_far_the_tables_are_behind(
    http: Ask, offer: dict[str, Any]
) -> None:
    waiting = create(http, offer)
    live = create(http, offer, publishTime=0, holdSeconds=600)
    http("POST", "/command/coupons", {"promotionId": live, "customerId": "alice"})
    over_ = create(http, offer, publishTime=0)
    http("DELETE", f"/admin/promotions/{over_}")
    shown = {row["promotionId"]: row for row in http("GET", "/admin/promotions").body}
    assert {sale: row["state"] for sale, row in shown.items()} == {
        waiting: "SCHEDULED", live: "ON_SALE", over_: "CANCELLED",
    }  # fmt: skip
    row = shown[live]
    counts = (row["available"], row["held"], row["sold"], row["version"], row["drift"])
    assert counts == (4, 1, 0, 2, 2)
    for event in receive("active-promotions"):
        active_promotions.on_event(event)
    assert http("GET", f"/admin/promotions/{live}").body["drift"] == 0


def test_drift_counts_events_also_over_a_recovery(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    sale = create(http, offer, publishTime=0)
    http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    [started, grabbed] = receive("active-promotions")

    def drift(store_version: int, table_version: int) -> Any:
        store.hset(scripts.key(sale, "promotion"), "version", store_version)
        active_promotions.on_event(replace(grabbed, version=table_version))
        return http("GET", f"/admin/promotions/{sale}").body["drift"]

    active_promotions.on_event(started)
    assert drift(2, 2) == 0
    assert drift(7, 3) == 4
    assert drift(GENERATION + 5, 3) == 5
    assert drift(GENERATION + 5, GENERATION + 2) == 3
    assert drift(3 * GENERATION + 4, GENERATION + 3) == 4
    assert drift(GENERATION + 3, 2 * GENERATION + 9) == -9
    assert drift(2 * GENERATION + 9, 2 * GENERATION + 9) == 0


def test_a_live_sale_that_the_store_does_not_know_is_not_shown_as_scheduled(
    http: Ask, offer: dict[str, Any], store: Redis
) -> None:
    sale, waiting = create(http, offer, publishTime=0), create(http, offer)
    for promotion_id in (sale, waiting):
        store.delete(scripts.key(promotion_id, "promotion"))
    assert http("GET", f"/admin/promotions/{sale}").body["state"] == "RECOVERING"
    assert http("GET", f"/admin/promotions/{waiting}").body["state"] == "RECOVERING"
    for event in receive("active-promotions"):
        active_promotions.on_event(event)
    assert http("GET", f"/admin/promotions/{sale}").body["state"] == "ON_SALE"
    note_end(sale, "SOLD_OUT")
    assert http("GET", f"/admin/promotions/{sale}").body["state"] == "FINISHED"
    note_end(sale, "CANCELLED")
    assert http("GET", f"/admin/promotions/{sale}").body["state"] == "CANCELLED"


def test_the_list_is_paged(http: Ask, offer: dict[str, Any]) -> None:
    made = {create(http, offer) for _ in range(5)}
    seen, query = [], "?limit=2"
    while query:
        page = http("GET", "/admin/promotions" + query)
        seen += [row["promotionId"] for row in page.body]
        link = page.headers.get("Link", "<>")
        query = link[1 : link.index(">")]
    assert (len(seen), set(seen)) == (5, made)


def test_what_the_store_has_forgotten_is_shown_from_the_tables(
    http: Ask, offer: dict[str, Any], store: Redis, outside: Outside, repair: Repair
) -> None:
    sale = create(http, offer, publishTime=0, numberOfCoupons=1)
    http("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
    for event in receive("active-promotions"):
        active_promotions.on_event(event)
    sweep(outside, repair)
    before = http("GET", f"/admin/promotions/{sale}").body
    store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))
    assert http("GET", f"/admin/promotions/{sale}").body == before
    assert (before["state"], before["sold"]) == ("FINISHED", 1)


def test_coupons_are_paid_and_given_back_over_http(http: Ask, offer: dict[str, Any]) -> None:
    sale = create(http, offer, publishTime=0, holdSeconds=600)
    for name in ("alice", "bob"):
        http("POST", "/command/coupons", {"promotionId": sale, "customerId": name})
    paid = http(
        "POST",
        f"/command/coupons/{sale}-1/payment",
        {"customerId": "alice", "paymentReference": "r-1"},
    )
    assert (paid.status, paid.body["state"], paid.body["paymentReference"]) == (200, "PAID", "r-1")
    given = http("DELETE", f"/command/coupons/{sale}-2?customerId=bob")
    assert (given.status, given.body["state"]) == (200, "RELEASED")
    again = http("DELETE", f"/command/coupons/{sale}-2", {"customerId": "bob"})
    assert (again.status, again.body) == (200, given.body)
    others = http("DELETE", f"/command/coupons/{sale}-1?customerId=bob")
    assert (others.status, others.body["code"]) == (404, "UNKNOWN_COUPON")


def test_the_operator_lists_coupons_by_their_state(http: Ask, offer: dict[str, Any]) -> None:
    sale = create(http, offer, publishTime=0, holdSeconds=600)
    for name in ("alice", "bob", "carol", "dave"):
        http("POST", "/command/coupons", {"promotionId": sale, "customerId": name})
    for number, name in ((2, "bob"), (4, "dave")):
        http("POST", f"/command/coupons/{sale}-{number}/payment", {"customerId": name})
    for event in receive("coupons"):
        coupons.on_event(event)
    seen, query = [], "?state=PAID&limit=1"
    while query:
        page = http("GET", f"/admin/promotions/{sale}/coupons{query}")
        seen += [(coupon["number"], coupon["state"]) for coupon in page.body]
        link = page.headers.get("Link", "<>")
        query = link[1 : link.index(">")]
    assert seen == [(2, "PAID"), (4, "PAID")]
    assert len(http("GET", f"/admin/promotions/{sale}/coupons").body) == 4
    bad = http("GET", f"/admin/promotions/{sale}/coupons?state=GONE")
    assert (bad.status, list(bad.body["errors"])) == (400, ["state"])


@pytest.mark.parametrize(
    ("coupon", "body", "field"),
    [
        ("nodash", {"customerId": "a"}, "couponId"),
        ("sale-x", {"customerId": "a"}, "couponId"),
        ("-1", {"customerId": "a"}, "couponId"),
        ("sale-1", {}, "customerId"),
        ("sale-1", {"customerId": "a b"}, "customerId"),
        ("sale-1", {"customerId": "a", "paymentReference": "a b"}, "paymentReference"),
    ],
)
def test_a_bad_payment_is_refused_by_its_field(
    http: Ask, coupon: str, body: dict[str, Any], field: str
) -> None:
    answer = http("POST", f"/command/coupons/{coupon}/payment", body)
    assert (answer.status, list(answer.body["errors"])) == (400, [field])


def test_a_bad_key_is_refused_by_its_header(http: Ask) -> None:
    body = {"promotionId": "sale", "customerId": "alice"}
    answer = http("POST", "/command/coupons", body, idempotency_key="a b")
    assert (answer.status, list(answer.body["errors"])) == (400, ["idempotency-key"])
