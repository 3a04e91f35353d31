"""The demo's verifier: a good sale passes, and whatever is wrong is caught and named."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from demo.verify import verify
from tests.unit.demo_runs import (
    PROMOTION,
    Sale,
    attempt,
    event_of,
    good_sale,
    named,
    row_of,
)


@pytest.fixture
def sale() -> Sale:
    return good_sale()


# --- a good sale


@pytest.mark.parametrize(("customers", "stock"), [(12, 5), (5, 5), (3, 5), (1, 1)])
def test_a_good_sale_passes(customers: int, stock: int) -> None:
    verdict = good_sale(customers, stock).verdict()
    assert verdict.violations == []
    assert verdict.passed
    sold = min(customers, stock)
    assert (verdict.granted, verdict.stored, verdict.journaled) == (sold, sold, sold)
    assert (verdict.duplicates, verdict.oversold, verdict.lost, verdict.errors) == (0, 0, 0, 0)


def test_order_is_of_no_importance(sale: Sale) -> None:
    sale.attempts.reverse()
    sale.coupons.reverse()
    sale.journal.reverse()
    assert sale.verdict().passed


def test_answers_that_wait_in_the_outbox_and_refusals_at_the_end_are_honest(sale: Sale) -> None:
    sale.change_attempt(0, status=202)
    sale.change_attempt(-1, status=410, code="FINISHED")
    assert sale.verdict().passed


# --- the answers


def test_a_customer_who_was_not_served_is_named(sale: Sale) -> None:
    sale.attempts.pop()
    assert named(sale.verdict(), "12 customers were to be served, 11 were")


def test_a_customer_who_tried_twice_is_named(sale: Sale) -> None:
    sale.attempts.append(sale.attempts[-1])
    assert named(sale.verdict(), "tried more than once", "c12")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "STORE_ERROR"),
        (503, "STORE_UNAVAILABLE"),
        (403, "NOT_STARTED"),
        (404, "UNKNOWN_PROMOTION"),
        (410, "CANCELLED"),
        (409, "LIMIT_REACHED"),
        (409, "FINISHED"),
        (200, "GRABBED"),
    ],
)
def test_any_other_answer_is_an_error(sale: Sale, status: int, code: str) -> None:
    sale.change_attempt(-1, status=status, code=code)
    verdict = sale.verdict()
    assert named(verdict, f"{status} {code}", "c12")
    assert verdict.errors == 1


def test_no_answer_is_an_error(sale: Sale) -> None:
    sale.change_attempt(-1, status=0, code="ConnectionResetError")
    verdict = sale.verdict()
    assert named(verdict, "no answer (ConnectionResetError)", "c12")
    assert verdict.errors == 1


def test_errors_of_one_kind_are_one_sentence(sale: Sale) -> None:
    for position in range(5, 12):
        sale.change_attempt(position, status=500, code="STORE_ERROR")
    verdict = sale.verdict()
    assert verdict.violations == [
        "unexpected answers, 500 STORE_ERROR: 7 (c6, c7, c8, c9, c10, ...)"
    ]
    assert verdict.errors == 7


def test_a_refusal_while_coupons_are_left_is_named() -> None:
    sale = good_sale(customers=3, stock=5)
    sale.customers = 4
    sale.attempts.append(attempt(4))
    assert named(sale.verdict(), "1 were refused with 3 of 5 coupons granted")


def test_a_coupon_that_never_became_readable_is_named(sale: Sale) -> None:
    sale.change_attempt(1, visible_ms=None)
    assert named(sale.verdict(), "never became readable", "p-2")


# --- lost, out of nowhere, too many, gaps: each tampered with, caught, counted and named


def lose_from_table(sale: Sale) -> None:
    del sale.coupons[2]


def lose_the_last_from_table(sale: Sale) -> None:
    del sale.coupons[-1]


def lose_from_journal(sale: Sale) -> None:
    del sale.journal[3]


def lose_from_both(sale: Sale) -> None:
    lose_from_table(sale)
    lose_from_journal(sale)


def answer_without_coupon(sale: Sale) -> None:
    sale.change_attempt(-1, status=201, code="GRABBED", coupon_id="p-6", number=6, visible_ms=1.0)


def answer_that_names_no_coupon(sale: Sale) -> None:
    sale.change_attempt(0, coupon_id="", number=0)


def coupon_without_answer(sale: Sale) -> None:
    sale.change_attempt(0, status=409, code="SOLD_OUT", coupon_id="", number=0, visible_ms=None)


def oversell(sale: Sale) -> None:
    more = {"customerId": "c12", "number": 6}
    answer_without_coupon(sale)
    sale.coupons.append({"couponId": "p-6", "promotionId": PROMOTION, **more})
    sale.journal.append(row_of(event_of(5, 8, "CouponGrabbed", 6, **more)))


def journal_twice(sale: Sale) -> None:
    sale.journal.append(row_of(json.loads(sale.journal[2]["event"]) | {"version": 8}))


def two_for_one_customer(sale: Sale) -> None:
    sale.coupons[4]["customerId"] = "c1"
    sale.change_event(6, customerId="c1")


def one_for_two_customers(sale: Sale) -> None:
    sale.change_attempt(1, coupon_id="p-1", number=1)


def repeat_in_table(sale: Sale) -> None:
    sale.coupons.append(sale.coupons[0])


def skip_numbers(sale: Sale) -> None:
    sale.change_attempt(4, coupon_id="p-9", number=9)
    sale.coupons[4].update(couponId="p-9", number=9)
    sale.change_event(6, number=9)


def swap_number(sale: Sale) -> None:
    sale.coupons[0]["number"] = 2


def skip_a_version(sale: Sale) -> None:
    sale.change_event(7, version=8)


def miscount(sale: Sale) -> None:
    sale.change_event(3, available=4)


def drop_the_start(sale: Sale) -> None:
    del sale.journal[0]


def drop_the_end(sale: Sale) -> None:
    del sale.journal[-1]


def still_on_sale(sale: Sale) -> None:
    sale.available = 0


MISSING = "answered coupons are missing: 1"
UNPROMISED = "coupons that no answer promised: 1 (p-1)"
TAMPERED: list[tuple[Callable[[Sale], None], dict[str, int], list[str]]] = [
    (lose_from_table, {"lost": 1}, [
        f"read table: {MISSING} (p-3)", "read table: 4 coupons instead of 5",
        "read table: numbers missing: 1 (3)"]),
    (lose_the_last_from_table, {"lost": 1}, [f"read table: {MISSING} (p-5)"]),
    (lose_from_journal, {"lost": 1}, [
        f"journal: {MISSING} (p-3)", "journal: versions missing: 1 (4)"]),
    (lose_from_both, {"lost": 1}, [f"read table: {MISSING} (p-3)", f"journal: {MISSING} (p-3)"]),
    (answer_without_coupon, {"lost": 1, "oversold": 1}, [
        f"read table: {MISSING} (p-6)", f"journal: {MISSING} (p-6)"]),
    (answer_that_names_no_coupon, {"lost": 1}, [f"read table: {UNPROMISED}"]),
    (coupon_without_answer, {}, [f"read table: {UNPROMISED}", f"journal: {UNPROMISED}"]),
    (oversell, {"oversold": 1}, [
        "answers: coupons oversold: 1", "read table: coupons oversold: 1",
        "journal: coupons oversold: 1",
        "journal: events whose stock is not available + held + sold, versions: 1 (8)"]),
    (journal_twice, {"duplicates": 1, "oversold": 1}, [
        "journal: coupon ids that appear more than once: 1 (p-2)"]),
    (two_for_one_customer, {"duplicates": 1}, [
        "read table: customers with more than one coupon: 1 (c1)",
        "journal: customers with more than one coupon: 1 (c1)",
        "read table: coupons of another customer than was answered: 1 (p-5)"]),
    (one_for_two_customers, {"duplicates": 1}, [
        "answers: coupon ids that appear more than once: 1 (p-1)"]),
    (repeat_in_table, {"duplicates": 1, "oversold": 1}, [
        "read table: coupon ids that appear more than once: 1 (p-1)"]),
    (skip_numbers, {}, [
        "answers: numbers missing: 4 (5, 6, 7, 8)", "read table: numbers missing: 4 (5, 6, 7, 8)",
        "journal: numbers missing: 4 (5, 6, 7, 8)"]),
    (swap_number, {}, ["read table: coupons whose id does not end with their number: 1 (p-1)"]),
    (skip_a_version, {}, ["journal: versions missing: 1 (7)"]),
    (miscount, {}, [
        "journal: events whose stock is not available + held + sold, versions: 1 (3)"]),
    (drop_the_start, {}, ["journal: PromotionStarted is not the first event, once"]),
    (drop_the_end, {}, ["journal: PromotionFinished is not the last event, 1 times"]),
    (still_on_sale, {}, ["promotions on sale: shown with 0 left instead of None"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tamper", "counts", "sentences"), TAMPERED, ids=[case[0].__name__ for case in TAMPERED]
)
def test_whatever_is_tampered_with_is_caught(
    sale: Sale, tamper: Callable[[Sale], None], counts: dict[str, int], sentences: list[str]
) -> None:
    tamper(sale)
    verdict = sale.verdict()
    assert not verdict.passed
    assert set(sentences) <= set(verdict.violations)
    nothing = {"duplicates": 0, "oversold": 0, "lost": 0, "errors": 0}
    assert {name: getattr(verdict, name) for name in nothing} == nothing | counts


@pytest.mark.parametrize(
    "changes", [{"version": 3}, {"promotionId": "q"}, {"type": "CouponPaid"}, {"at": 1}]
)
def test_a_row_that_differs_from_its_event_is_named(sale: Sale, changes: dict[str, Any]) -> None:
    sale.journal[1].update(changes)
    assert named(sale.verdict(), "rows that differ from their event")


def test_an_unsold_rest_must_be_on_sale_and_without_an_end() -> None:
    sale = good_sale(customers=3, stock=5)
    sale.journal.append(row_of(event_of(5, 5, "PromotionFinished", 3)))
    sale.available = 1
    assert sale.verdict().violations == [
        "journal: PromotionFinished is not the last event, 0 times",
        "promotions on sale: shown with 1 left instead of 2",
    ]


def test_an_empty_run_does_not_pass() -> None:
    verdict = verify(3, 2, [], [], [], None)
    assert named(verdict, "3 customers were to be served, 0 were")
    assert named(verdict, "answers: 0 coupons instead of 2")
