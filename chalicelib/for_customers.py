"""What a customer is answered where the store knows nothing: the tables have a word then."""

from chalicelib import answers
from chalicelib.answers import Answer
from chalicelib.commands.grab import Grab, GrabCoupon
from chalicelib.commands.missing import verdict_on
from chalicelib.commands.pay import Settled
from chalicelib.commands.recover import ask_for_recovery
from chalicelib.queries.coupons import coupon_of
from chalicelib.wiring import outside


def grabbed(command: GrabCoupon, grab: Grab) -> Answer:
    """The answer of a grab; a winner of before is answered with the coupon the tables have."""
    if grab.outcome != "UNKNOWN":
        return answers.grabbed(grab)
    verdict = verdict_on(command.promotion_id)
    if verdict == "UNKNOWN_PROMOTION":
        return answers.problem(verdict)
    if verdict == "RECOVERING":
        ask_for_recovery(command.promotion_id, outside())
    held = coupon_of(command.customer_id, command.promotion_id)
    return answers.ok(held.to_json()) if held else answers.problem(verdict)


def settled(promotion_id: str, done: Settled) -> Answer:
    """The coupon after a payment or a return; where the store knows nothing, the table's word."""
    if done.outcome == "UNKNOWN":
        return answers.problem(verdict_on(promotion_id))
    return answers.settled(done)
