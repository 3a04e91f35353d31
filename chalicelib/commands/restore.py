"""Give a customer the record of a coupon back that the store is without."""

from chalicelib.commands.decision import Outside, decide
from chalicelib.shapes import Coupon

# The letters of coupon.lua.
_LETTERS = {"GRABBED": "G", "PAID": "P", "RELEASED": "R", "REVOKED": "V", "REFUND_DUE": "D"}
_LETTERS_BY_REASON = {
    ("RELEASED", "GIVEN_BACK"): "B",
    ("REFUND_DUE", "HOLD_EXPIRED"): "D",
    ("REFUND_DUE", "COUPON_RELEASED"): "E",
    ("REFUND_DUE", "CANCELLED"): "F",
    ("REFUND_DUE", "REVOKED"): "W",
}


def restore_coupon(held: Coupon, outside: Outside) -> str:
    """Have the store know a coupon that the tables have; returns the outcome of restore_coupon.lua.

    Raises:
        redis.RedisError: the store is away; asking again is safe.
        NotOnRecord: see `decide`.
    """
    parts = (
        held.number,
        0,
        held.grabbed_at,
        _LETTERS_BY_REASON.get((held.state, held.reason or ""), _LETTERS[held.state]),
        held.deadline,
        held.paid_at,
        held.payment_reference,
        None,
        held.moved_to and held.moved_to.rpartition("-")[2],
    )
    text = " ".join("*" if part is None else str(part) for part in parts)
    return decide(outside, "restore_coupon", held.promotion_id, held.customer_id, text).outcome
