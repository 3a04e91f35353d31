"""Grab a coupon: the one command that has to stand the crowd."""

import secrets
import time
from dataclasses import dataclass

from aws_lambda_powertools.metrics import MetricUnit
from redis import Redis

from chalicelib import telemetry
from chalicelib.commands import over, requests, throttle, tokens
from chalicelib.commands.coupon import coupon_from
from chalicelib.commands.decision import NotOnRecord, Outside, decide
from chalicelib.commands.scripts import Reply
from chalicelib.commands.throttle import Rate
from chalicelib.config import settings
from chalicelib.shapes import Coupon


@dataclass(frozen=True, slots=True)
class GrabCoupon:
    """`customer_id` wants a coupon of `promotion_id`; `key` is the same when they ask again.

    token: see admit.py; only some promotions ask for one.
    """

    promotion_id: str
    customer_id: str
    key: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Grab:
    """The store's answer.

    outcome: GRANTED, REPEATED, NOT_STARTED, SOLD_OUT, LIMIT_REACHED, FINISHED, CANCELLED,
    THROTTLED, TOKEN_REQUIRED or UNKNOWN (see grab.lua), IDEMPOTENCY_KEY_REUSED, or
    TOKENS_UNAVAILABLE where a token is asked for that this process can't check. coupon: with
    GRANTED and REPEATED. published: the broker has its event. opens_at: with NOT_STARTED, when it
    opens (epoch ms). wait_ms: how long until then, or until a throttled customer may ask again.
    why: with TOKEN_REQUIRED, what is wrong with the token. rates: how the buckets stand that this
    call was charged to.
    """

    outcome: str
    coupon: Coupon | None = None
    published: bool = True
    opens_at: int = 0
    wait_ms: int = 0
    why: str = ""
    rates: tuple[Rate, ...] = ()


def grab_coupon(command: GrabCoupon, outside: Outside, address: str = "") -> Grab:
    """Decide in one atomic step, then publish what was decided.

    A repeat, whether the customer's or the client library's, gets the coupon of before, and
    its event is published if that had not happened yet. Without a key of the customer's, each
    call has one of its own, so that the client library's second sending is known as one. It is
    charged as one more call all the same: a key that made calls free would be everybody's key.

    Args:
        command: who wants what.
        outside: what commands work with.
        address: where the request came from, for throttling.

    Raises:
        redis.RedisError: the store is away or refused; the customer may safely ask again.
    """
    began_s = time.perf_counter()
    closed_as = over.marked(command.promotion_id, command.customer_id)
    if closed_as is not None:
        return Grab(closed_as)
    won = (
        requests.won_with(command.customer_id, command.key, outside.store) if command.key else None
    )
    if won and won.promotion_id != command.promotion_id:
        return Grab("IDEMPOTENCY_KEY_REUSED")
    key = command.key or f"!{secrets.token_urlsafe(9)}"  # no customer's key begins like this
    admitted_until = _admitted_until(command)
    charged = throttle.buckets(command.customer_id, address)
    try:
        decision = decide(
            outside,
            "grab",
            command.promotion_id,
            command.customer_id,
            f"{key} {won.number}" if won else key,
            admitted_until,
            *throttle.limits(charged),
            more=[bucket.part for bucket in charged],
        )
    except NotOnRecord as untold:
        _remember(command, untold.reply, outside.store)
        raise
    reply = decision.reply
    rates = throttle.rates(charged, reply)
    _remember(command, reply, outside.store)
    if "over" in reply.detail:
        over.mark(command.promotion_id, reply.outcome, outside.store)
    outcome = reply.outcome
    if outcome == "TOKEN_REQUIRED" and command.token and not settings().admission_keys:
        outcome = "TOKENS_UNAVAILABLE"
    took_ms = round((time.perf_counter() - began_s) * 1000, 1)
    telemetry.measure_all(
        {"grabs": (1, MetricUnit.Count), "grab_ms": (took_ms, MetricUnit.Milliseconds)},
        by={"outcome": outcome},
        promotion=command.promotion_id,
        customer=telemetry.pseudonym(command.customer_id),
        version=reply.events[-1].version if reply.events else 0,
    )
    if outcome == "THROTTLED":
        return Grab(outcome, wait_ms=reply.detail["retryInMs"], rates=rates)
    if outcome == "TOKEN_REQUIRED":
        return Grab(outcome, why=_why_refused(command, admitted_until), rates=rates)
    if outcome == "NOT_STARTED":
        opens_at = reply.detail["opensAt"]
        return Grab(outcome, opens_at=opens_at, wait_ms=opens_at - reply.now, rates=rates)
    coupon = coupon_from(reply, command.promotion_id, command.customer_id)
    return Grab(outcome, coupon=coupon, published=decision.published, rates=rates)


def _remember(command: GrabCoupon, reply: Reply, store: Redis) -> None:
    """Note a key that has won; also at a repeat, because the first process may have died."""
    if command.key and reply.outcome in ("GRANTED", "REPEATED"):
        won = requests.Won(command.promotion_id, reply.detail["number"])
        requests.remember(command.customer_id, command.key, won, store)


def _admitted_until(command: GrabCoupon) -> int:
    """When the command's token expires (epoch ms); 0 without one that is this customer's."""
    if command.token is None:
        return 0
    keys = settings().admission_keys
    return tokens.valid_until(command.token, command.promotion_id, command.customer_id, keys)


def _why_refused(command: GrabCoupon, admitted_until: int) -> str:
    if command.token is None:
        return "token is missing; POST /command/tokens gives one"
    if admitted_until == 0:
        return "token is not one of this customer's for this promotion"
    return "token has expired"
