"""Confirm a payment, or give an unpaid coupon back."""

from dataclasses import dataclass

from chalicelib import telemetry
from chalicelib.commands.coupon import coupon_from
from chalicelib.commands.decision import Decision, Outside, decide
from chalicelib.shapes import Coupon


@dataclass(frozen=True, slots=True)
class PayCoupon:
    """The customer has paid for this coupon; the amount is the server's."""

    promotion_id: str
    number: int
    customer_id: str
    payment_reference: str | None = None


@dataclass(frozen=True, slots=True)
class GiveBackCoupon:
    """The customer does not want this coupon any more."""

    promotion_id: str
    number: int
    customer_id: str


@dataclass(frozen=True, slots=True)
class Settled:
    """The store's answer: an outcome of pay.lua or give_back.lua, and the coupon if any."""

    outcome: str
    coupon: Coupon | None


def pay_coupon(command: PayCoupon, outside: Outside) -> Settled:
    """Make the coupon paid, or record that its payment has to be refunded.

    Raises:
        redis.RedisError: the store is away or refused; asking again is safe.
    """
    reference = command.payment_reference or "*"
    decision = decide(
        outside, "pay", command.promotion_id, command.customer_id, command.number, reference
    )
    return _settled("payments", command, decision)


def give_back_coupon(command: GiveBackCoupon, outside: Outside) -> Settled:
    """Release the coupon's unit.

    Raises:
        redis.RedisError: the store is away or refused; asking again is safe.
    """
    decision = decide(
        outside, "give_back", command.promotion_id, command.customer_id, command.number
    )
    return _settled("returns", command, decision)


def _settled(metric: str, command: PayCoupon | GiveBackCoupon, decision: Decision) -> Settled:
    telemetry.count(
        metric,
        by={"outcome": decision.outcome},
        promotion=command.promotion_id,
        customer=telemetry.pseudonym(command.customer_id),
        number=command.number,
    )
    coupon = coupon_from(decision.reply, command.promotion_id, command.customer_id)
    return Settled(decision.outcome, coupon)
