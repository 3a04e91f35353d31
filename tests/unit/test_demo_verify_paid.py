"""The demo's verifier on sales with payment: a good run passes, each kind of fault is named."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from tests.unit.demo_runs import PaidSale, attempt, event_of, good_paid_sale, named, settlement


@pytest.fixture
def sale() -> PaidSale:
    return good_paid_sale()


def test_a_good_sale_passes_and_is_counted(sale: PaidSale) -> None:
    verdict = sale.verdict()
    assert verdict.violations == []
    assert (verdict.granted, verdict.stored, verdict.journaled) == (5, 5, 5)
    assert (verdict.paid, verdict.stored_paid, verdict.journaled_paid) == (3, 3, 3)
    assert (verdict.released, verdict.given_back, verdict.resold) == (2, 1, 2)
    assert (verdict.late, verdict.refunds, verdict.returned) == (0, 0, 3)
    assert (verdict.duplicates, verdict.oversold, verdict.lost, verdict.errors) == (0, 0, 0, 0)


def test_order_is_of_no_importance(sale: PaidSale) -> None:
    for things in (sale.attempts, sale.settlements, sale.coupons, sale.events):
        Random(1).shuffle(things)
    assert sale.verdict().passed


# --- each tampered with, caught and named


def lose_a_payment_from_table(sale: PaidSale) -> None:
    sale.coupons[0]["state"] = "GRABBED"


def lose_a_paid_coupon_from_table(sale: PaidSale) -> None:
    del sale.coupons[3]


def lose_a_payment_from_journal(sale: PaidSale) -> None:
    sale.events.remove(sale.event("CouponPaid", 4))
    sale.renumber()
    sale.recount()


def pay_without_an_answer(sale: PaidSale) -> None:
    del sale.settlements[0]


def pay_twice(sale: PaidSale) -> None:
    sale.events.insert(-1, dict(sale.event("CouponPaid", 4)))
    sale.settlements.append(sale.settlements[0])
    sale.renumber()
    sale.recount()


def release_what_is_paid(sale: PaidSale) -> None:
    paid = sale.event("CouponPaid", 1)
    place = sale.events.index(paid) + 1
    sale.events.insert(place, paid | {"type": "CouponReleased", "reason": "GIVEN_BACK"})
    sale.renumber()
    sale.recount()


def pay_what_was_given_back(sale: PaidSale) -> None:
    given_back = sale.event("CouponReleased", 2)
    sale.events.insert(sale.events.index(given_back) + 1, given_back | {"type": "CouponPaid"})
    sale.coupons[1]["state"] = "PAID"
    sale.settlements.append(settlement(2, 2, "payment", 200, "PAID"))
    sale.renumber()
    sale.recount()


def sell_a_unit_twice(sale: PaidSale) -> None:
    """Coupon 3 keeps its unit and is paid, although coupon 5 was granted for it."""
    sale.event("CouponReleased", 3).update(type="CouponPaid", at=2900)
    sale.coupons[2]["state"] = "PAID"
    sale.settlements.append(settlement(3, 3, "payment", 200, "PAID"))
    sale.recount()


def miscount(sale: PaidSale) -> None:
    sale.event("CouponPaid", 4)["held"] += 1


def misplace_a_unit(sale: PaidSale) -> None:
    """The sum holds, but a unit is shown as free that is held."""
    event = sale.event("CouponReleased", 2)
    event["available"] += 1
    event["held"] -= 1


def two_at_a_time(sale: PaidSale) -> None:
    for event in sale.events:
        if event.get("number") == 4:
            event["customerId"] = "c1"
    sale.coupons[3]["customerId"] = "c1"
    sale.attempts = [replace(a, customer_id="c1") if a.number == 4 else a for a in sale.attempts]


def pay_for_another(sale: PaidSale) -> None:
    sale.event("CouponPaid", 4)["customerId"] = "c5"


def skip_a_number(sale: PaidSale) -> None:
    for event in sale.events:
        if event.get("number") == 5:
            event["number"] = 6


def drop_the_end(sale: PaidSale) -> None:
    del sale.events[-1]


def end_before_the_last_payment(sale: PaidSale) -> None:
    sale.events[-2:] = reversed(sale.events[-2:])
    sale.renumber()
    sale.recount()


def end_twice(sale: PaidSale) -> None:
    sale.events.append(dict(sale.events[-1]))
    sale.renumber()


def skip_a_version(sale: PaidSale) -> None:
    sale.events[-1]["version"] += 1


def expire_too_early(sale: PaidSale) -> None:
    sale.event("CouponReleased", 3)["at"] = 3002


def release_twice(sale: PaidSale) -> None:
    sale.events.insert(-1, dict(sale.event("CouponReleased", 3)))
    sale.renumber()
    sale.recount()


def release_never(sale: PaidSale) -> None:
    sale.events.remove(sale.event("CouponReleased", 3))
    sale.renumber()
    sale.recount()


def give_back_in_vain(sale: PaidSale) -> None:
    sale.settlements.append(settlement(1, 1, "return", 200, "RELEASED"))


def forget_a_refund(sale: PaidSale) -> None:
    sale.settlements.append(settlement(3, 3, "payment", 409, "HOLD_EXPIRED"))


def record_a_refund_of_nothing(sale: PaidSale) -> None:
    refund = sale.event("CouponReleased", 3) | {"type": "RefundRecorded"}
    sale.events.append(refund)
    sale.renumber()
    sale.recount()


def restock_unasked(sale: PaidSale) -> None:
    sale.events.insert(3, event_of(3, 0, "PromotionRestocked", 0))
    sale.renumber()
    sale.recount()


def grant_without_an_answer(sale: PaidSale) -> None:
    sale.attempts = [a for a in sale.attempts if a.number != 3] + [attempt(3)]


def still_on_sale(sale: PaidSale) -> None:
    sale.available = 0


NOT_PAID = "coupons answered as paid are not: 1"
TAMPERED: list[tuple[Callable[[PaidSale], None], dict[str, int], list[str]]] = [
    (lose_a_payment_from_table, {"lost": 1}, [
        "read table: 2 paid coupons instead of 3", f"read table: {NOT_PAID} (p-1)",
        "read table: coupons in another state than their last event: 1 (p-1 GRABBED)"]),
    (lose_a_paid_coupon_from_table, {"lost": 1}, [
        "read table: answered coupons are missing: 1 (p-4)", f"read table: {NOT_PAID} (p-4)",
        "read table: numbers missing: 1 (4)"]),
    (lose_a_payment_from_journal, {"lost": 1}, [
        "journal: 2 paid coupons instead of 3", f"journal: {NOT_PAID} (p-4)",
        "journal: 2 releases, but 3 coupons were not paid in time",
        "journal: coupons neither paid nor released: 1 (p-4)"]),
    (pay_without_an_answer, {}, [
        "read table: coupons paid that no answer told: 1 (p-1)",
        "journal: coupons paid that no answer told: 1 (p-1)"]),
    (pay_twice, {"duplicates": 1, "oversold": 1}, [
        "answers: coupons paid more than once: 1 (p-1)",
        "journal: coupons paid more than once: 1 (p-4)",
        "journal: events that can't follow, versions: 1 (12 CouponPaid of PAID)"]),
    (release_what_is_paid, {}, [
        "journal: events that can't follow, versions: 1 (6 CouponReleased of PAID)",
        "journal: 3 releases, but 2 coupons were not paid in time",
        "read table: coupons in another state than their last event: 1 (p-1 PAID)"]),
    (pay_what_was_given_back, {"oversold": 1, "duplicates": 1}, [
        "journal: events that can't follow, versions: 1 (7 CouponPaid of GIVEN_BACK)",
        "answers: 4 paid coupons instead of 3"]),
    (sell_a_unit_twice, {"oversold": 1}, [
        "units held or sold at the same time: 1 beyond the stock",
        "journal: paid coupons: 1 beyond the stock", "answers: 4 paid coupons instead of 3"]),
    (miscount, {}, [
        "journal: events whose stock is not available + held + sold, versions: 1 (10)",
        "journal: events whose counts don't follow from the event before, versions: 2 (10, 11)"]),
    (misplace_a_unit, {}, [
        "journal: events whose counts don't follow from the event before, versions: 2 (6, 7)"]),
    (two_at_a_time, {"duplicates": 1}, ["journal: customers with two active coupons: 1 (c1)"]),
    (pay_for_another, {"oversold": 1}, [
        "journal: events of another customer's coupon: 1 (p-4)"]),
    (skip_a_number, {"lost": 1}, ["journal: numbers missing: 1 (5)"]),
    (drop_the_end, {}, ["journal: PromotionFinished is there 0 times instead of 1"]),
    (end_before_the_last_payment, {}, [
        "journal: events after PromotionFinished that are no refunds, versions: 1 (12)"]),
    (end_twice, {}, ["journal: PromotionFinished is there 2 times instead of 1"]),
    (skip_a_version, {}, ["journal: versions missing: 1 (12)"]),
    (expire_too_early, {}, ["journal: coupons that expired before their deadline: 1 (p-3)"]),
    (release_twice, {}, [
        "journal: coupons released more than once: 1 (p-3)",
        "journal: 3 releases, but 2 coupons were not paid in time"]),
    (release_never, {"oversold": 1}, [
        "units held or sold at the same time: 1 beyond the stock",
        "journal: 1 releases, but 2 coupons were not paid in time",
        "journal: coupons neither paid nor released: 1 (p-3)"]),
    (give_back_in_vain, {}, ["journal: coupons that were given back are not released: 1 (p-1)"]),
    (forget_a_refund, {}, ["journal: coupons answered as refund are not: 1 (p-3)"]),
    (record_a_refund_of_nothing, {}, ["journal: coupons refund that no answer told: 1 (p-3)"]),
    (restock_unasked, {}, [
        "journal: events that can't follow, versions: 1 (4 PromotionRestocked of nothing)"]),
    (grant_without_an_answer, {}, ["journal: coupons that no answer promised: 1 (p-3)"]),
    (still_on_sale, {}, ["promotions on sale: shown with 0 left instead of None"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tamper", "counts", "sentences"), TAMPERED, ids=[case[0].__name__ for case in TAMPERED]
)
def test_whatever_is_tampered_with_is_caught(
    sale: PaidSale,
    tamper: Callable[[PaidSale], None],
    counts: dict[str, int],
    sentences: list[str],
) -> None:
    tamper(sale)
    verdict = sale.verdict()
    assert not verdict.passed
    assert set(sentences) - set(verdict.violations) == set()
    nothing = {"duplicates": 0, "oversold": 0, "lost": 0, "errors": 0}
    assert {name: getattr(verdict, name) for name in nothing} == nothing | counts


@pytest.mark.parametrize(
    ("did", "status", "code"),
    [
        ("payment", 409, "COUPON_RELEASED"),
        ("payment", 409, "ALREADY_PAID"),
        ("payment", 404, "UNKNOWN_COUPON"),
        ("payment", 200, "RELEASED"),
        ("payment", 0, "TimeoutError"),
        ("return", 409, "ALREADY_PAID"),
        ("return", 200, "PAID"),
        ("return", 503, "STORE_UNAVAILABLE"),
    ],
)
def test_any_other_answer_to_a_winner_is_an_error(
    sale: PaidSale, did: str, status: int, code: str
) -> None:
    sale.settlements.append(settlement(3, 3, did, status, code))
    verdict = sale.verdict()
    assert named(verdict, "unexpected answers", f"{code} to a {did}" if status else code, "c3")
    assert verdict.errors == 1


@pytest.mark.parametrize(("status", "code"), [(403, "NOT_STARTED"), (200, "GRABBED"), (500, "")])
def test_any_other_answer_to_a_grab_is_an_error(sale: PaidSale, status: int, code: str) -> None:
    sale.attempts[-1] = replace(sale.attempts[-1], status=status, code=code)
    assert sale.verdict().errors == 1
