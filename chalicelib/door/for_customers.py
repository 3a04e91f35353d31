"""What a customer is answered where the store knows nothing: the tables have a word then."""

from chalicelib.commands.admit import Admission, AdmitCustomer
from chalicelib.commands.grab import Grab, GrabCoupon
from chalicelib.commands.missing import Verdict, verdict_on
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon, Settled
from chalicelib.commands.promotions import find_promotion
from chalicelib.commands.recover import ask_for_recovery
from chalicelib.door import answers
from chalicelib.door.answers import Answer
from chalicelib.door.rate_headers import with_rates
from chalicelib.queries.coupons import coupon_by_id, coupon_of
from chalicelib.shapes import coupon_id
from chalicelib.wiring import outside


def grabbed(command: GrabCoupon, grab: Grab) -> Answer:
    """The answer of a grab; a winner of before is answered with the coupon the tables have.

    Only where each customer may have one: with more, the tables can't tell a repeat from a wish
    for another.
    """
    if grab.outcome != "UNKNOWN":
        return with_rates(answers.grabbed(grab), grab.rates)
    verdict = _verdict(command.promotion_id)
    if verdict == "UNKNOWN_PROMOTION":
        return answers.problem(verdict)
    row = find_promotion(command.promotion_id)
    if row is None or row.coupons_per_customer > 1:
        return answers.problem(verdict)
    held = coupon_of(command.customer_id, command.promotion_id)
    return answers.ok(held.to_json()) if held else answers.problem(verdict)


def admitted(command: AdmitCustomer, admission: Admission) -> Answer:
    """The answer to who asks for a token: what a grab would hear, where there is none to give."""
    if admission.outcome == "UNKNOWN":
        return answers.problem(_verdict(command.promotion_id))
    return with_rates(answers.admitted(admission), admission.rates)


def settled(command: PayCoupon | GiveBackCoupon, done: Settled) -> Answer:
    """The coupon after a payment or a return.

    Where the store knows nothing, a repeat of what the tables have is answered with the coupon.
    A coupon that the tables have and the store denies is a store that has gone back in time: a
    payer is not told "unknown" then.
    """
    if done.outcome not in ("UNKNOWN", "UNKNOWN_COUPON"):
        return answers.settled(done)
    held = coupon_by_id(command.customer_id, coupon_id(command.promotion_id, command.number))
    if done.outcome == "UNKNOWN_COUPON":
        if held is None:
            return answers.settled(done)
        ask_for_recovery(command.promotion_id, outside())
        return answers.problem("RECOVERING")
    wanted = "PAID" if isinstance(command, PayCoupon) else "RELEASED"
    if held is not None and held.state == wanted:
        return answers.ok(held.to_json())
    return answers.problem(_verdict(command.promotion_id))


def _verdict(promotion_id: str) -> Verdict:
    """The tables' word on a promotion; a recovery begins where one is needed."""
    verdict = verdict_on(promotion_id)
    if verdict == "RECOVERING":
        ask_for_recovery(promotion_id, outside())
    return verdict
