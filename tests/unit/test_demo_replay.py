"""What the journal of a sale with payment may say besides the usual, and stay honest."""

import pytest

from tests.unit.demo_runs import PaidSale, good_paid_sale, named, settlement


@pytest.fixture
def sale() -> PaidSale:
    return good_paid_sale()


def test_a_refund_that_is_on_record_is_honest_also_after_the_end(sale: PaidSale) -> None:
    sale.settlements.append(settlement(3, 3, "payment", 409, "HOLD_EXPIRED"))
    sale.coupons[2]["state"] = "REFUND_DUE"
    released = sale.event("CouponReleased", 3)
    sale.events.append(released | {"type": "RefundRecorded", "reason": "HOLD_EXPIRED"})
    sale.renumber()
    sale.recount()
    verdict = sale.verdict()
    assert verdict.violations == []
    assert verdict.refunds == 1


def test_a_payment_that_is_honoured_after_the_deadline_is_honest(sale: PaidSale) -> None:
    """Coupon 3 expires, is paid while its unit is still free, and nobody else gets the unit."""
    for kind in ("CouponGrabbed", "CouponPaid"):
        sale.events.remove(sale.event(kind, 5))
    del sale.coupons[4]
    sale.attempts = [a for a in sale.attempts if a.number != 5]
    sale.settlements = [s for s in sale.settlements if s.coupon_id != "p-5"]
    paid = sale.event("CouponReleased", 3) | {"type": "CouponPaid"}
    sale.events.insert(-1, paid)
    sale.coupons[2]["state"] = "PAID"
    sale.settlements.append(settlement(3, 3, "payment", 200, "PAID"))
    sale.renumber()
    sale.recount()
    verdict = sale.verdict()
    assert verdict.violations == []
    assert (verdict.late, verdict.released, verdict.paid) == (1, 2, 3)


def test_a_rest_that_nobody_is_left_for_stays_on_sale(sale: PaidSale) -> None:
    del sale.events[-1]
    sale.stock, sale.available = 6, 1
    for event in sale.events:
        event["stock"] = 6
    sale.recount()
    assert named(sale.verdict(), "answers: 3 paid coupons instead of 5")
    assert not named(sale.verdict(), "PromotionFinished")
    assert not named(sale.verdict(), "promotions on sale")
