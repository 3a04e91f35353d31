"""What a customer is answered where the store knows nothing: the tables have a word then."""

from chalicelib import answers
from chalicelib.answers import Answer
from chalicelib.commands.grab import Grab, GrabCoupon
from chalicelib.commands.missing import verdict_on
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon, Settled
from chalicelib.commands.promotions import find_promotion
from chalicelib.commands.recover import ask_for_recovery
from chalicelib.queries.coupons import coupon_by_id, coupon_of
from chalicelib.shapes import coupon_id
from chalicelib.wiring import outside


def grabbed(command: GrabCoupon, grab: Grab) -> Answer:
    """The answer of a grab; a winner of before is answered with the coupon the tables have.

    Only where each customer may have one: with more, the tables can't tell a repeat from a wish
    for another.
    """
    if grab.outcome != "UNKNOWN":
        return answers.grabbed(grab)
    verdict = verdict_on(command.promotion_id)
    if verdict == "UNKNOWN_PROMOTION":
        return answers.problem(verdict)
    if verdict == "RECOVERING":
        ask_for_recovery(command.promotion_id, outside())
    row = find_promotion(command.promotion_id)
    if row is None or row.coupons_per_customer > 1:
        return answers.problem(verdict)
    held = coupon_of(command.customer_id, command.promotion_id)
    return answers.ok(held.to_json()) if held else answers.problem(verdict)


def settled(command: PayCoupon | GiveBackCoupon, done: Settled) -> Answer:
    """The coupon after a payment or a return.

    Where the store knows nothing, a repeat of what the tables have is answered with the coupon.
    """
    if done.outcome != "UNKNOWN":
        return answers.settled(done)
    held = coupon_by_id(command.customer_id, coupon_id(command.promotion_id, command.number))
    wanted = "PAID" if isinstance(command, PayCoupon) else "RELEASED"
    if held is not None and held.state == wanted:
        return answers.ok(held.to_json())
    return answers.problem(verdict_on(command.promotion_id))
