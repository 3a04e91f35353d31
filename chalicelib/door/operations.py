"""Every operation of the API: who may, what it takes, what it answers.

`app.py` looks each of its routes up here and can't register one that is not; the OpenAPI document
is made of nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib.door import models
from chalicelib.door.identity import Who
from chalicelib.door.models import Model

# A name of a schema in openapi.py; a list of them is written "[Name]".
Shape = str

_OVER = ("SOLD_OUT", "FINISHED", "CANCELLED")
_STORE = ("STORE_UNAVAILABLE", "STORE_ERROR")
_TABLE = ("TABLE_UNAVAILABLE", "ROW_UNREADABLE")
_WRITES = (*_STORE, *_TABLE, "QUEUE_UNAVAILABLE", "RECOVERING")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    answers: status -> what the body is. problems: the codes of refusals and outages, see
    answers.py. key: takes an Idempotency-Key. accepts_query: the body's fields may come in the
    query string instead.
    """

    summary: str
    answers: Mapping[int, Shape]
    problems: tuple[str, ...] = ()
    who: Who = "anyone"
    body: Model | None = None
    query: Model | None = None
    key: bool = False
    accepts_query: bool = False
    media_type: str = "application/json"
    refusals: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Add the refusals that follow from the rest."""
        more: list[str] = []
        if self.who != "anyone":
            more += ["UNAUTHORIZED", "FORBIDDEN"]
        if self.body or self.query or self.key:
            more.append("INVALID")
        if self.body:
            more.append("UNSUPPORTED_MEDIA_TYPE")
        object.__setattr__(self, "refusals", tuple(dict.fromkeys([*more, *self.problems])))


_COUPON = {200: "Coupon"}
_PAID = (
    "UNKNOWN_PROMOTION", "UNKNOWN_COUPON", "HOLD_EXPIRED", "COUPON_RELEASED", "REVOKED", *_OVER,
    "ALREADY_PAID", "NOTHING_TO_PAY", "INVALID", *_WRITES,
)  # fmt: skip
_RETURNED = (
    "UNKNOWN_PROMOTION", "UNKNOWN_COUPON", "ALREADY_PAID", "REFUND_DUE", "REVOKED",
    "NOT_RETURNABLE", "INVALID", *_OVER, *_WRITES,
)  # fmt: skip
_NO_PROMOTION = ("INVALID", "UNKNOWN_PROMOTION")

OPERATIONS: dict[str, Operation] = {
    "POST /admin/promotions": Operation(
        summary="Create a promotion; 202 where the store was lost just now and has it later.",
        who="admin", body=models.OFFER, key=True,
        answers={200: "Promotion", 201: "Promotion", 202: "Promotion"},
        problems=("IDEMPOTENCY_KEY_REUSED", *_WRITES),
    ),
    "PUT /admin/promotions/{promotion_id}": Operation(
        summary="Edit a promotion until it has started.",
        who="admin", body=models.OFFER, answers={200: "Promotion"},
        problems=("UNKNOWN_PROMOTION", "ALREADY_STARTED", *_OVER, *_WRITES),
    ),
    "POST /admin/promotions/{promotion_id}/stock": Operation(
        summary="Add units, also during the sale.",
        who="admin", body=models.RESTOCK, key=True, answers={200: "Promotion"},
        problems=("UNKNOWN_PROMOTION", "TOO_MANY", "IDEMPOTENCY_KEY_REUSED", *_OVER, *_WRITES),
    ),
    "DELETE /admin/promotions/{promotion_id}": Operation(
        summary="Cancel a promotion; a live sale stops at once.",
        who="admin", answers={200: "Promotion"}, problems=(*_NO_PROMOTION, *_OVER, *_WRITES),
    ),
    "GET /admin/promotions": Operation(
        summary="All promotions, in every state.",
        who="admin", query=models.PAGE_BY_ID, answers={200: "[Promotion]"},
        problems=(*_STORE, *_TABLE),
    ),
    "GET /admin/promotions/{promotion_id}": Operation(
        summary="One promotion, in any state.",
        who="admin", answers={200: "Promotion"}, problems=(*_NO_PROMOTION, *_STORE, *_TABLE),
    ),
    "POST /admin/items": Operation(
        summary="Create an item.",
        who="admin", body=models.ITEM, answers={201: "Item"}, problems=_TABLE,
    ),
    "PUT /admin/items/{item_id}": Operation(
        summary="Edit an item; promotions keep the price they were created with.",
        who="admin", body=models.ITEM, answers={200: "Item"},
        problems=("UNKNOWN_ITEM", *_TABLE),
    ),
    "POST /admin/promotions/{promotion_id}/recovery": Operation(
        summary="Compare the promotion with the journal and recover it if it needs it.",
        who="admin", answers={200: "Recovery", 202: "Recovery"},
        problems=(*_NO_PROMOTION, *_WRITES),
    ),
    "GET /admin/promotions/{promotion_id}/coupons": Operation(
        summary="A promotion's coupons in order of number, all or those of one state.",
        who="admin", query=models.COUPONS_BY_STATE, answers={200: "[Coupon]"}, problems=_TABLE,
    ),
    "GET /admin/promotions/{promotion_id}/audit": Operation(
        summary="Compare store, outbox, journal and tables.",
        who="admin", answers={200: "[Difference]"},
        problems=(*_NO_PROMOTION, *_STORE, *_TABLE),
    ),
    "POST /admin/promotions/{promotion_id}/audit": Operation(
        summary="Compare, and mend what can be mended.",
        who="admin", answers={200: "[Difference]"}, problems=(*_NO_PROMOTION, *_WRITES),
    ),
    "GET /admin/dead-letters": Operation(
        summary="What could not be processed, by queue.",
        who="admin", answers={200: "DeadLetters"}, problems=("QUEUE_UNAVAILABLE",),
    ),
    "POST /admin/dead-letters/{queue}": Operation(
        summary="Send the dead letters of a queue on again.",
        who="admin", answers={200: "Sent"}, problems=("NOT_FOUND", "QUEUE_UNAVAILABLE"),
    ),
    "POST /command/coupons": Operation(
        summary="Grab a coupon. 201: yours; 202: yours, its event waits; 200: yours already.",
        who="customer", body=models.GRAB, key=True,
        answers={200: "Coupon", 201: "Coupon", 202: "Coupon"},
        problems=("NOT_STARTED", "UNKNOWN_PROMOTION", "LIMIT_REACHED", "IDEMPOTENCY_KEY_REUSED",
                  "TOKEN_REQUIRED", "TOKENS_UNAVAILABLE", "THROTTLED", *_OVER, *_WRITES),
    ),
    "POST /command/tokens": Operation(
        summary="Get the token that a grab of some promotions needs; not before their start.",
        who="customer", body=models.ADMIT, answers={201: "Token"},
        problems=("NOT_STARTED", "UNKNOWN_PROMOTION", "NO_TOKENS", "TOKENS_UNAVAILABLE",
                  "THROTTLED", *_OVER, *_WRITES),
    ),
    "POST /command/coupons/{coupon_id}/payment": Operation(
        summary="Confirm the payment of a coupon; the amount is the server's.",
        who="customer", body=models.PAYMENT, answers=_COUPON, problems=_PAID,
    ),
    "DELETE /command/coupons/{coupon_id}": Operation(
        summary="Give an unpaid coupon back.",
        who="customer", body=models.GIVE_BACK, accepts_query=True, answers=_COUPON,
        problems=_RETURNED,
    ),
    "GET /query/promotions": Operation(
        summary="What is on sale now.", answers={200: "[Promotion]"}, problems=_TABLE
    ),
    "GET /query/promotions/{promotion_id}": Operation(
        summary="One promotion on sale.", answers={200: "Promotion"},
        problems=("INVALID", "NOT_FOUND", *_TABLE),
    ),
    "GET /query/promotions/{promotion_id}/coupons": Operation(
        summary="A promotion's coupons in order of number. It tells who has them: operators only.",
        who="admin", query=models.PAGE_BY_NUMBER, answers={200: "[Coupon]"}, problems=_TABLE,
    ),
    "GET /query/coupons/{customer_id}": Operation(
        summary="A customer's coupons.",
        who="customer", query=models.PAGE_BY_ID, answers={200: "[Coupon]"}, problems=_TABLE,
    ),
    "GET /query/items/{item_id}": Operation(
        summary="An item.", answers={200: "Item"}, problems=("INVALID", "UNKNOWN_ITEM", *_TABLE)
    ),
    "GET /query/time": Operation(
        summary="The sale's clock, in epoch ms: the store's, which decides when a sale opens.",
        answers={200: "Time"}, problems=_STORE,
    ),
    "GET /health": Operation(
        summary="Is each dependency there?", answers={200: "Health", 503: "Health"}
    ),
    "GET /openapi.json": Operation(summary="This document.", answers={200: "Document"}),
    "GET /docs": Operation(
        summary="This document as a page.", answers={200: "Page"}, media_type="text/html"
    ),
}  # fmt: skip
