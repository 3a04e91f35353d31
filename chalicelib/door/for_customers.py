"""What a customer is answered where the store knows nothing: the tables have a word then."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from chalicelib.commands.admit import Admission, AdmitCustomer
from chalicelib.commands.grab import Grab, GrabCoupon
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon, Settled
from chalicelib.commands.promotions import find_promotion
from chalicelib.commands.recover import bring_back
from chalicelib.commands.restore import restore_coupon
from chalicelib.door import answers
from chalicelib.door.answers import Answer
from chalicelib.door.rate_headers import with_rates
from chalicelib.door.served import served
from chalicelib.queries.coupons import coupon_by_id, coupon_of
from chalicelib.shapes import Coupon, coupon_id
from chalicelib.wiring import outside, repair

_OUTCOME: Callable[[Any], str] = attrgetter("outcome")


def grabbed(command: GrabCoupon, grab: Callable[[], Grab]) -> Answer:
    """The answer of a grab; a winner of before is answered with the coupon the tables have.

    Only where each customer may have one: with more, the tables can't tell a repeat from a wish
    for another.
    """
    done = served(command.promotion_id, grab, _OUTCOME)
    if isinstance(done, Grab):
        return with_rates(answers.grabbed(done), done.rates)
    if done == "UNKNOWN_PROMOTION":
        return answers.problem(done)
    row = find_promotion(command.promotion_id)
    if row is None or row.coupons_per_customer > 1:
        return answers.problem(done)
    held = coupon_of(command.customer_id, command.promotion_id)
    return answers.ok(held.to_json()) if held else answers.problem(done)


def admitted(command: AdmitCustomer, admit: Callable[[], Admission]) -> Answer:
    """The answer to a request for a token: that of a grab, where there is none to give."""
    done = served(command.promotion_id, admit, _OUTCOME)
    if isinstance(done, Admission):
        return with_rates(answers.admitted(done), done.rates)
    return answers.problem(done)


def settled(command: PayCoupon | GiveBackCoupon, settle: Callable[[], Settled]) -> Answer:
    """The coupon after a payment or a return.

    A coupon that the tables know and the store does not is restored first. A promotion that the
    store has let go of, a week after its end, is brought back first: a payment must be on record.
    Where the store can't serve, a repeat of what the tables have is answered with the coupon.
    """
    done = served(command.promotion_id, settle, _OUTCOME)
    if isinstance(done, Settled) and done.outcome != "UNKNOWN_COUPON":
        return answers.settled(done)
    held = coupon_by_id(command.customer_id, coupon_id(command.promotion_id, command.number))
    if isinstance(done, Settled):
        if held is not None:
            for coupon in reversed(_chain(held)):
                restore_coupon(coupon, outside())
            done = settle()
        return answers.settled(done)
    if held is None or done == "UNKNOWN_PROMOTION":
        return answers.problem(done)
    held = _chain(held)[-1]
    if _is_repeat(command, held):
        return answers.ok(held.to_json())
    if done == "RECOVERING" or isinstance(command, GiveBackCoupon):
        return answers.problem(done)
    bring_back(command.promotion_id, outside(), repair())
    return settled(command, settle)


def _chain(held: Coupon) -> list[Coupon]:
    """The coupon under each number that it has had, the newest last."""
    chain = [held]
    while chain[-1].moved_to and (moved := coupon_by_id(held.customer_id, chain[-1].moved_to)):
        chain.append(moved)
    return chain


def _is_repeat(command: PayCoupon | GiveBackCoupon, held: Coupon) -> bool:
    """Whether the tables know that this very request was granted before."""
    if isinstance(command, GiveBackCoupon):
        return held.state == "RELEASED"
    same = command.payment_reference in (None, held.payment_reference)
    return held.state == "PAID" and same
