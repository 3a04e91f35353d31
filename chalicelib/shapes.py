"""What the API answers with: the coupon and the promotion, as clients see them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """A customer's coupon. Times are epoch ms; `discount` is what the price is multiplied by."""

    promotion_id: str
    customer_id: str
    number: int
    state: str
    discount: Decimal
    grabbed_at: int

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
        }


def coupon_id(promotion_id: str, coupon_number: int) -> str:
    """The id of a promotion's coupon."""
    return f"{promotion_id}-{coupon_number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A promotion. Times are epoch ms; `available` is None where it is not known."""

    promotion_id: str
    number_of_coupons: int
    discount: Decimal
    publish_time: int
    finish_time: int
    coupons_per_customer: int
    hold_seconds: int
    state: str
    available: int

    def to_json(self) -> dict[str, Any]:
        """The promotion as the API shows it."""
        return {
            "promotionId": self.promotion_id,
            "numberOfCoupons": self.number_of_coupons,
            "discount": number(self.discount),
            "publishTime": self.publish_time,
            "finishTime": self.finish_time,
            "couponsPerCustomer": self.coupons_per_customer,
            "holdSeconds": self.hold_seconds,
            "state": self.state,
            "available": self.available,
        }


def number(value: Decimal) -> float:
    """A decimal as a JSON number of the same digits.

    Only for printing: up to 15 significant digits, a double prints as the decimal it was made
    of, and what the API accepts has at most four.
    """
    return float(value)
