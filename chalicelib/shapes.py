"""What the API answers with: the coupon and the promotion, as clients see them."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """A customer's coupon.

    Times are epoch ms; `discount` is what the price is multiplied by. state: GRABBED, PAID,
    RELEASED, REFUND_DUE or REVOKED; `reason` is why a coupon is no longer valid, and `moved_to` the
    id of the coupon that replaces it. What does not apply is None, and left out of the JSON.
    """

    promotion_id: str
    customer_id: str
    number: int
    state: str
    discount: Decimal
    grabbed_at: int
    deadline: int | None = None
    price: Decimal | None = None
    paid_at: int | None = None
    payment_reference: str | None = None
    moved_to: str | None = None
    reason: str | None = None

    @property
    def coupon_id(self) -> str:
        """`<promotionId>-<number>`: unique, because the number comes from the atomic step."""
        return coupon_id(self.promotion_id, self.number)

    def to_json(self) -> dict[str, Any]:
        """The coupon as the API shows it."""
        return {
            "couponId": self.coupon_id,
            "promotionId": self.promotion_id,
            "customerId": self.customer_id,
            "number": self.number,
            "state": self.state,
            "discount": number(self.discount),
            "grabbedAt": self.grabbed_at,
            **_known(
                deadline=self.deadline,
                price=self.price,
                paidAt=self.paid_at,
                paymentReference=self.payment_reference,
                movedTo=self.moved_to,
                reason=self.reason,
            ),
        }


def coupon_id(promotion_id: str, coupon_number: int) -> str:
    """The id of a promotion's coupon."""
    return f"{promotion_id}-{coupon_number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A promotion. Times are epoch ms.

    The last four are an operator's: units held and sold, the version of the newest event, and
    how many events the read table is behind.
    """

    number_of_coupons: int
    discount: Decimal
    promotion_id: str
    publish_time: int
    finish_time: int
    coupons_per_customer: int
    hold_seconds: int
    state: str
    available: int
    item_id: str | None = None
    item: "Item | None" = None
    price: Decimal | None = None
    held: int | None = None
    sold: int | None = None
    version: int | None = None
    drift: int | None = None
    admission: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The promotion as the API shows it.

        Clients of the old system look for `,"promotionId":"...","publishTime":` in a list, so these
        two are neighbours, and not the first.
        """
        return {
            "numberOfCoupons": self.number_of_coupons,
            "discount": number(self.discount),
            "promotionId": self.promotion_id,
            "publishTime": self.publish_time,
            "finishTime": self.finish_time,
            "couponsPerCustomer": self.coupons_per_customer,
            "holdSeconds": self.hold_seconds,
            "state": self.state,
            "available": self.available,
            **_known(
                itemId=self.item_id,
                item=self.item.to_json() if self.item else None,
                price=self.price,
                held=self.held,
                sold=self.sold,
                version=self.version,
                drift=self.drift,
                admission=None if self.admission == "open" else self.admission,
            ),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """The goods that promotions sell. `list_price` has two decimal places at most."""

    item_id: str
    name: str
    list_price: Decimal
    picture: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The item as the API shows it."""
        return {
            "itemId": self.item_id,
            "name": self.name,
            "listPrice": number(self.list_price),
            **_known(picture=self.picture),
        }


def price_of(list_price: Decimal, discount: Decimal) -> Decimal:
    """List price x discount, rounded half up to the cent; one cent at least: nothing is free."""
    return max(_CENT, (list_price * discount).quantize(_CENT, ROUND_HALF_UP))


def _known(**values: Any) -> dict[str, Any]:
    """Only what is there; decimals as JSON numbers."""
    return {
        name: number(value) if isinstance(value, Decimal) else value
        for name, value in values.items()
        if value is not None
    }


def number(value: Decimal) -> float:
    """A decimal as a JSON number of the same digits.

    Only for printing: up to 15 significant digits, a double prints as the decimal it was made
    of, and no decimal that the API accepts has more than eleven.
    """
    return float(value)
