"""One row that can't be read affects only itself: lists answer the others, and it is counted."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from redis import Redis

import app as entry_points
from chalicelib import journal, telemetry
from chalicelib.commands import scripts
from chalicelib.commands.promotions import (
    PromotionRow,
    all_ids,
    close_promotion,
    live_ids,
    live_promotions,
)
from chalicelib.items import ItemRow, find_items
from chalicelib.journal import EventRow
from chalicelib.projections import active_promotions, coupons
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.projections.rebuild import rebuild
from chalicelib.queries.audit import coupon_rows, projected_counts
from chalicelib.tables import Row, UnreadableRow
from tests.unit.conftest import Http, create, metrics
from tests.unit.test_http import receive
from tests.unit.test_recover import Live, live, wipe

__all__ = ["live"]
Ask = Callable[..., Http]


def corrupt(model: type[Row], attribute: str, how: str, **key: str) -> None:
    """Give an attribute another type, a text that is no number, or take it away."""
    changes: dict[str, dict[str, Any]] = {
        "missing": {"UpdateExpression": "REMOVE #a"},
        "of another type": {
            "UpdateExpression": "SET #a = :v", "ExpressionAttributeValues": {":v": {"BOOL": True}},
        },
        "no number": {
            "UpdateExpression": "SET #a = :v", "ExpressionAttributeValues": {":v": {"S": "ten"}},
        },
    }  # fmt: skip
    boto3.client("dynamodb").update_item(
        TableName=model.Meta.table_name,
        Key={name: {"S": value} for name, value in key.items()},
        ExpressionAttributeNames={"#a": attribute},
        **changes[how],
    )


def unreadable(capsys: pytest.CaptureFixture[str]) -> set[tuple[str, str]]:
    """(table, key) of each row that was counted since the last call."""
    told = metrics(capsys.readouterr().out, "row_unreadable")
    return {(line["table"].removeprefix("seckill-local-"), line["key"]) for line in told}


@pytest.fixture
def three(http: Ask, offer: dict[str, Any]) -> list[str]:
    """Three sales of two coupons each, in every table."""
    item = http("POST", "/admin/items", {"name": "Kettle", "listPrice": 20}).body["itemId"]
    offer |= {"publishTime": 0, "couponsPerCustomer": 2, "itemId": item, "holdSeconds": 60}
    sales = [create(http, offer) for _ in range(3)]
    for sale in sales:
        for customer in ("alice", "bob"):
            http("POST", "/command/coupons", {"promotionId": sale, "customerId": customer})
    for event in receive("active-promotions"):
        active_promotions.on_event(event)
        coupons.on_event(event)
        journal.append(event)
    return sales


OFFER_FAULTS = [
    ("numberOfCoupons", "missing"), ("holdSeconds", "no number"), ("discount", "no number"),
    ("discount", "of another type"), ("price", "no number"), ("price", "of another type"),
]  # fmt: skip


@pytest.mark.parametrize(("attribute", "how"), OFFER_FAULTS)
def test_the_operators_list_leaves_out_a_promotion_that_can_not_be_read(
    http: Ask, three: list[str], attribute: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, *good = three
    corrupt(PromotionRow, attribute, how, promotionId=bad)
    seen: list[str] = []
    query = "?limit=1"
    while query:
        page = http("GET", "/admin/promotions" + query)
        assert page.status == 200
        seen += [row["promotionId"] for row in page.body]
        link = page.headers.get("Link", "<>")
        query = link[1 : link.index(">")]
    assert sorted(seen) == sorted(good)
    assert unreadable(capsys) == {("promotions", f"promotionId={bad}")}
    answer = http("GET", f"/admin/promotions/{bad}")
    assert (answer.status, answer.body["code"]) == (500, "ROW_UNREADABLE")
    assert unreadable(capsys) == {("promotions", f"promotionId={bad}")}


@pytest.mark.parametrize(("attribute", "how"), OFFER_FAULTS)
def test_the_live_promotions_are_all_that_can_be_read_and_the_ids_are_all(
    three: list[str], attribute: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, *good = three
    corrupt(PromotionRow, attribute, how, promotionId=bad)
    assert {row.promotion_id for row in live_promotions()} == set(good)
    assert unreadable(capsys) == {("promotions", f"promotionId={bad}")}
    assert sorted(live_ids()) == sorted(all_ids()) == sorted(three)


@pytest.mark.parametrize(
    ("attribute", "how"),
    [("stock", "missing"), ("discount", "no number"), ("price", "of another type"),
     ("couponsPerCustomer", "no number"), ("available", "of another type")],
)  # fmt: skip
def test_the_list_of_what_is_on_sale_leaves_out_a_row_that_can_not_be_read(
    http: Ask, three: list[str], attribute: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, *good = three
    corrupt(ActivePromotionRow, attribute, how, promotionId=bad)
    answer = http("GET", "/query/promotions")
    assert answer.status == 200
    assert sorted(promotion["promotionId"] for promotion in answer.body) == sorted(good)
    assert unreadable(capsys) == {("active-promotions", f"promotionId={bad}")}
    answer = http("GET", f"/query/promotions/{bad}")
    assert (answer.status, answer.body["code"]) == (500, "ROW_UNREADABLE")
    assert http("GET", "/health").status == 200
    # The operator's list has the store's word on it.
    listed = http("GET", "/admin/promotions").body
    assert {row["promotionId"]: row["state"] for row in listed} == dict.fromkeys(three, "ON_SALE")


@pytest.mark.parametrize(
    ("attribute", "how"),
    [("state", "missing"), ("grabbedAt", "no number"), ("price", "of another type"),
     ("discount", "missing"), ("version", "missing")],
)  # fmt: skip
def test_lists_of_coupons_leave_out_a_row_that_can_not_be_read(
    http: Ask, three: list[str], attribute: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, *good = three
    corrupt(CouponRow, attribute, how, customerId="alice", coupon=f"{bad}-1")
    mine = http("GET", "/query/coupons/alice")
    assert sorted(c["promotionId"] for c in mine.body) == sorted(good)
    bobs = http("GET", f"/query/promotions/{bad}/coupons")
    assert [c["customerId"] for c in bobs.body] == ["bob"]
    named = f"customerId={telemetry.pseudonym('alice')} coupon={bad}-1"
    assert unreadable(capsys) == {("coupons", named)}
    assert list(coupon_rows(bad)) == [("bob", 2)]


def test_a_page_of_coupons_is_full_though_a_row_can_not_be_read(
    http: Ask, three: list[str]
) -> None:
    sale = three[0]
    corrupt(CouponRow, "state", "missing", customerId="alice", coupon=f"{sale}-1")
    page = http("GET", f"/query/promotions/{sale}/coupons?limit=1")
    assert [c["customerId"] for c in page.body] == ["bob"]
    assert "Link" not in page.headers


def test_an_item_that_can_not_be_read_hides_no_promotion(http: Ask, three: list[str]) -> None:
    item = http("GET", f"/query/promotions/{three[0]}").body["itemId"]
    other = http("POST", "/admin/items", {"name": "Cup", "listPrice": 2}).body["itemId"]
    corrupt(ItemRow, "listPrice", "of another type", itemId=item)
    shown = http("GET", "/query/promotions").body
    assert sorted(promotion["promotionId"] for promotion in shown) == sorted(three)
    alone = http("GET", f"/query/promotions/{three[0]}")
    assert (alone.status, alone.body.get("item")) == (200, None)
    assert set(find_items({item, other})) == {other}
    assert http("GET", f"/query/items/{item}").body["code"] == "ROW_UNREADABLE"


def test_a_promotion_that_the_store_has_garbage_of_hides_no_other(
    http: Ask, three: list[str], store: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    halved, text, good = three
    store.hdel(scripts.key(halved, "promotion"), "stock")
    store.set(scripts.key(text, "promotion"), "a text")
    listed = {row["promotionId"]: row for row in http("GET", "/admin/promotions").body}
    assert set(listed) == set(three)
    assert listed[good]["available"] == listed[text]["available"] == 3
    named = {("store", f"promotionId={sale}") for sale in (halved, text)}
    assert unreadable(capsys) == named


@pytest.mark.parametrize("attribute", ["version", "state", "grabbedAt"])
def test_a_rebuild_mends_a_coupons_row_that_can_not_be_read(
    http: Ask, three: list[str], attribute: str
) -> None:
    sale = three[0]
    corrupt(CouponRow, attribute, "of another type", customerId="alice", coupon=f"{sale}-1")
    rebuild(sale)
    assert [c["number"] for c in http("GET", f"/query/promotions/{sale}/coupons").body] == [1, 2]


@pytest.mark.parametrize("attribute", ["version", "stock", "offerVersion", "discount"])
def test_an_audit_looks_at_a_row_of_counts_that_can_not_be_read_and_a_rebuild_mends_it(
    http: Ask, three: list[str], attribute: str
) -> None:
    sale = three[0]
    corrupt(ActivePromotionRow, attribute, "of another type", promotionId=sale)
    counts = projected_counts(sale)
    assert counts is None
    assert http("GET", f"/admin/promotions/{sale}/audit").status == 200
    rebuild(sale)
    assert projected_counts(sale) is not None
    assert len(http("GET", "/query/promotions").body) == 3


def test_the_commands_for_all_promotions_go_on_behind_one_that_fails(
    live: Live, store: Redis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chalicelib.queues.journal_drained", lambda _: True)
    bad, good = live(-1, 3_600_000), live(-1, 7_200_000)
    for sale in (bad, good):
        wipe(store, sale)
    corrupt(PromotionRow, "holdSeconds", "no number", promotionId=bad)
    every = [entry_points.on_recover({}, None)]
    assert store.exists(scripts.key(good, "promotion"))
    every += [entry_points.on_reconcile(event, None) for event in ({}, {"repair": True})]
    for done in every:
        assert set(done) == {bad, good}
        assert list(done[bad]) == ["error"]
        assert "error" not in done[good]
    failed = metrics(capsys.readouterr().out, "promotion_failed")
    assert [line["promotion"] for line in failed] == [bad] * len(every)


def test_a_command_for_one_promotion_fails_by_the_exception_itself(live: Live) -> None:
    sale = live(-1, 3_600_000)
    corrupt(PromotionRow, "holdSeconds", "no number", promotionId=sale)
    with pytest.raises(UnreadableRow, match=sale):
        entry_points.on_reconcile({"promotionId": sale, "repair": True}, None)


def test_an_event_that_can_not_be_read_stops_no_command(live: Live) -> None:
    sale = live(-1, 3_600_000)
    EventRow(sale, 7, type="CouponGrabbed", at=1, event="{}").save()
    assert set(entry_points.on_rebuild({"promotionId": sale}, None)) == {sale}


def test_a_row_that_can_not_be_read_is_written_to_all_the_same(three: list[str]) -> None:
    sale = three[0]
    corrupt(ActivePromotionRow, "stock", "of another type", promotionId=sale)
    [started, *_] = journal.read(sale)
    active_promotions.on_event(started, again=True)
    corrupt(PromotionRow, "holdSeconds", "of another type", promotionId=sale)
    close_promotion(sale, "FINISHED")
    assert sale not in live_ids()
