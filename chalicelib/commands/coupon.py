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
        detail = {**_newest_event(reply, detail["number"]).to_dict(), **detail}
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


def _newest_event(reply: Reply, number: int) -> CouponEvent:
    return next(
        e for e in reversed(reply.events) if isinstance(e, CouponEvent) and e.number == number
    )
