"""Grab a coupon: the one command that has to stand the crowd."""

from dataclasses import dataclass
from decimal import Decimal

from redis import Redis

from chalicelib import telemetry
from chalicelib.commands import outbox, scripts
from chalicelib.publisher import EventPublisher
from chalicelib.shapes import Coupon


@dataclass(frozen=True, slots=True)
class GrabCoupon:
    """`customer_id` wants a coupon of `promotion_id`."""

    promotion_id: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class Grab:
    """The store's answer.

    outcome: GRANTED, REPEATED, NOT_STARTED, SOLD_OUT, FINISHED or UNKNOWN (see grab.lua).
    coupon: with GRANTED and REPEATED. published: the broker has its event.
    opens_at, wait_ms: with NOT_STARTED, when it opens (epoch ms) and how long that is.
    """

    outcome: str
    coupon: Coupon | None = None
    published: bool = True
    opens_at: int = 0
    wait_ms: int = 0


def grab_coupon(command: GrabCoupon, store: Redis, publisher: EventPublisher) -> Grab:
    """Decide in one atomic step, then publish what was decided.

    A repeat, whether the customer's or the client library's, gets the coupon of before, and
    its event is published if that had not happened yet.

    Raises:
        redis.RedisError: the store is away or refused; the customer may safely ask again.
    """
    reply = scripts.run(store, "grab", command.promotion_id, command.customer_id)
    published = outbox.publish(reply.events, command.promotion_id, store, publisher)
    telemetry.count(
        "grabs",
        by={"outcome": reply.outcome},
        promotion=command.promotion_id,
        customer=telemetry.pseudonym(command.customer_id),
        version=reply.events[-1].version if reply.events else 0,
    )
    if reply.outcome == "NOT_STARTED":
        opens_at = int(reply.detail["opensAt"])
        return Grab(reply.outcome, opens_at=opens_at, wait_ms=opens_at - int(reply.detail["now"]))
    if reply.outcome not in ("GRANTED", "REPEATED"):
        return Grab(reply.outcome)
    coupon = Coupon(
        promotion_id=command.promotion_id,
        customer_id=command.customer_id,
        number=int(reply.detail["number"]),
        state=reply.detail["state"],
        discount=Decimal(reply.detail["discount"]),
        grabbed_at=int(reply.detail["grabbedAt"]),
    )
    return Grab(reply.outcome, coupon=coupon, published=published)
