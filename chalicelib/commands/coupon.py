"""From a script's reply to the coupon in it."""

from decimal import Decimal

from chalicelib.commands.scripts import Reply
from chalicelib.events import CouponEvent
from chalicelib.shapes import Coupon


def coupon_from(reply: Reply, promotion_id: str, customer_id: str) -> Coupon | None:
    """The coupon that a reply shows; None where it shows none.

    One that was changed just now is in its event, and its detail says no more than which it is.
    """
    detail = reply.detail
    if "number" not in detail:
        return None
    if "discount" not in detail:
        return _after(reply, detail["number"])
    return Coupon(
        promotion_id=promotion_id,
        customer_id=customer_id,
        number=detail["number"],
        state=detail["state"],
        discount=Decimal(detail["discount"]),
        grabbed_at=detail["grabbedAt"],
        deadline=detail.get("deadline"),
        price=Decimal(detail["price"]) if "price" in detail else None,
        paid_at=detail.get("paidAt"),
        payment_reference=detail.get("paymentReference"),
    )


def _after(reply: Reply, number: int) -> Coupon:
    """The coupon of that number as the newest event of it says."""
    event = next(
        e for e in reversed(reply.events) if isinstance(e, CouponEvent) and e.number == number
    )
    return Coupon(
        promotion_id=event.promotion_id,
        customer_id=event.customer_id,
        number=event.number,
        state=event.state,
        discount=event.discount,
        grabbed_at=event.grabbed_at,
        deadline=event.deadline,
        price=event.price,
        paid_at=event.paid_at,
        payment_reference=event.payment_reference,
    )
