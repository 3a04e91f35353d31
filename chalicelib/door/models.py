"""What each request may carry, declared once: for checks, their words, and OpenAPI.

A model reads a body, a query string or headers, and collects the faults of all fields.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.commands.edit_promotion import MAX_COUPONS
from chalicelib.door import checks
from chalicelib.door.checks import Check, Fault, whole

PAGE_LIMIT = 100
MAX_COUPONS_PER_CUSTOMER = 100
MAX_HOLD_S = 86_400
COUPON_STATES = ("GRABBED", "PAID", "RELEASED", "REFUND_DUE", "REVOKED")
_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Field:
    """One field: what it may be, what it is when it is left out or null, and one sentence."""

    name: str
    check: Check
    about: str
    needed: bool = True
    default: Any = None


@dataclass(frozen=True, slots=True)
class Model:
    """The fields of a request. `closed`: a field that is not declared is a fault.

    what: the word for it in a fault, for instance "a promotion".
    """

    name: str
    what: str
    fields: tuple[Field, ...]
    closed: bool = False

    def read(self, source: Mapping[str, Any], faults: dict[str, str]) -> dict[str, Any]:
        """The values of all fields in their exact form; what is wrong goes into `faults`."""
        if self.closed:
            known = {field.name for field in self.fields}
            for name in sorted(set(source) - known):
                faults[shortened(name)] = f"is not a field of {self.what}"
        return {field.name: _read(field, source, faults) for field in self.fields}

    def schema(self, *, known: Container[str] = ()) -> dict[str, Any]:
        """The model as a JSON Schema; fields in `known` need not be said."""
        fields = [
            replace(field, needed=False) if field.name in known else field for field in self.fields
        ]
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {field.name: _described(field) for field in fields},
        }
        needed = [field.name for field in fields if field.needed]
        if needed:
            schema["required"] = needed
        if self.closed:
            schema["additionalProperties"] = False
        return schema


def shortened(name: str) -> str:
    """A field's name as a fault shows it: a client may have sent one of any length."""
    return name[:_LONGEST_NAME]


def _read(field: Field, source: Mapping[str, Any], faults: dict[str, str]) -> Any:
    value = source.get(field.name)
    if value is None:  # many clients send null for what they leave out
        if field.needed:
            faults[field.name] = "is required"
        return field.default
    try:
        return field.check.take(value)
    except Fault as fault:
        faults[field.name] = str(fault)
        return None


def _described(field: Field) -> dict[str, Any]:
    schema = field.check.schema
    if not field.needed:
        schema = {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
    default = {} if field.default is None else {"default": field.default}
    return {**schema, "description": field.about, **default}


PROMOTION_ID = Field("promotionId", checks.identifier, "which promotion")
ITEM_ID = Field("itemId", checks.identifier, "which item")
CUSTOMER_ID = Field("customerId", checks.identifier, "who; the token's subject where there is one")

OFFER = Model(
    "Offer",
    "a promotion",
    (
        Field("numberOfCoupons", whole(1, MAX_COUPONS), "how many units"),
        Field("discount", checks.discount, "what the list price is multiplied by"),
        Field("publishTime", checks.time_ms, "when it opens; in the past: at once"),
        Field(
            "finishTime",
            checks.end_ms,
            "when it ends; after publishTime, in the future; 9223372036854775807 (Java's "
            "Long.MAX_VALUE) is no end, which is the year 2100",
        ),
        Field("itemId", checks.identifier, "what is sold; it has to exist", needed=False),
        Field(
            "couponsPerCustomer",
            whole(1, MAX_COUPONS_PER_CUSTOMER),
            "how many one customer may have",
            needed=False,
            default=1,
        ),
        Field(
            "holdSeconds",
            whole(0, MAX_HOLD_S),
            "how long a coupon waits for its payment; 0: a grab is final",
            needed=False,
            default=0,
        ),
        Field(
            "admission",
            checks.one_of("open", "token"),
            "whether a grab needs a token, which nobody can have before the start",
            needed=False,
            default="open",
        ),
    ),
    closed=True,
)
ITEM = Model(
    "NewItem",
    "an item",
    (
        Field("name", checks.line, "what it is called"),
        Field("listPrice", checks.price, "what it costs without a discount"),
        Field("picture", checks.web_address, "where a picture of it is", needed=False),
    ),
    closed=True,
)
RESTOCK = Model(
    "Restock", "a restock", (Field("add", whole(1, MAX_COUPONS), "how many units"),), closed=True
)
GRAB = Model(
    "GrabCoupon",
    "a grab",
    (
        PROMOTION_ID,
        CUSTOMER_ID,
        Field("token", checks.identifier, "of /command/tokens, if it is asked for", needed=False),
    ),
)
ADMIT = Model("AdmitCustomer", "a request for a token", (PROMOTION_ID, CUSTOMER_ID))
PAYMENT = Model(
    "PayCoupon",
    "a payment",
    (
        CUSTOMER_ID,
        Field("paymentReference", checks.identifier, "the provider's word for it", needed=False),
    ),
)
GIVE_BACK = Model("GiveBackCoupon", "a return", (CUSTOMER_ID,))
# What the query string may say besides a body, which counts then.
CUSTOMER_TOO = Model("CustomerToo", "a return", (replace(CUSTOMER_ID, needed=False),))

IDEMPOTENCY_KEY = Model(
    "Key",
    "a request",
    (Field("idempotency-key", checks.identifier, "the same when it is sent again", needed=False),),
)
_LIMIT = Field("limit", whole(1, PAGE_LIMIT), "how many", needed=False, default=PAGE_LIMIT)
_AFTER = "where to go on; the Link header of a page has it"
PAGE_BY_ID = Model(
    "PageById", "a page", (Field("after", checks.identifier, _AFTER, needed=False), _LIMIT)
)
PAGE_BY_NUMBER = Model(
    "PageByNumber", "a page", (Field("after", checks.coupon_number, _AFTER, needed=False), _LIMIT)
)
STATE = Field("state", checks.one_of(*COUPON_STATES), "only these", needed=False)
COUPONS_BY_STATE = Model("CouponsByState", "a page", (*PAGE_BY_NUMBER.fields, STATE))
