"""Admit a customer: give them the token without which some promotions sell nothing.

Nobody can have one before the start, so what a bot prepares in advance is worth nothing: at the
start it has to ask for a token and then grab, one customer at a time, within the same limits as
everybody else.
"""

from dataclasses import dataclass

from chalicelib import telemetry
from chalicelib.commands import over, scripts, throttle, tokens
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.throttle import Rate
from chalicelib.config import settings

# Long enough to try again a few times, too short to be sold on.
TOKEN_LIVES_MS = 60_000


@dataclass(frozen=True, slots=True)
class AdmitCustomer:
    """`customer_id` wants to take part in `promotion_id`."""

    promotion_id: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class Admission:
    """The store's answer.

    outcome: ADMITTED, NOT_STARTED, SOLD_OUT, FINISHED, CANCELLED, THROTTLED or UNKNOWN (see
    admit.lua); where this process has no keys NO_TOKENS, or TOKENS_UNAVAILABLE if the promotion
    asks for a token. token, expires_at (epoch ms): with ADMITTED. opens_at, wait_ms, rates: as in a
    Grab.
    """

    outcome: str
    token: str = ""
    expires_at: int = 0
    opens_at: int = 0
    wait_ms: int = 0
    rates: tuple[Rate, ...] = ()


def admit_customer(command: AdmitCustomer, outside: Outside, address: str = "") -> Admission:
    """A token for this customer and promotion, once it is on sale; `address` is for throttling.

    Raises:
        redis.RedisError: the store is away or refused; asking again is safe.
        NotOnRecord: the request has started the promotion, and nobody takes that event.
    """
    keys = settings().admission_keys
    if not keys:
        asks = outside.store.hget(scripts.key(command.promotion_id, "promotion"), "admission")
        return Admission("TOKENS_UNAVAILABLE" if asks == "token" else "NO_TOKENS")
    closed_as = over.marked(command.promotion_id, command.customer_id)
    if closed_as is not None:
        return Admission(closed_as)
    charged = throttle.buckets(command.customer_id, address)
    reply = decide(
        outside,
        "admit",
        command.promotion_id,
        command.customer_id,
        TOKEN_LIVES_MS,
        *throttle.limits(charged),
        more=[bucket.part for bucket in charged],
    ).reply
    if "over" in reply.detail:
        over.mark(command.promotion_id, reply.outcome, outside.store)
    telemetry.count("tokens", by={"outcome": reply.outcome}, promotion=command.promotion_id)
    rates = throttle.rates(charged, reply)
    if reply.outcome == "THROTTLED":
        return Admission(reply.outcome, wait_ms=reply.detail["retryInMs"], rates=rates)
    if reply.outcome == "NOT_STARTED":
        opens_at = reply.detail["opensAt"]
        wait_ms = opens_at - reply.now
        return Admission(reply.outcome, opens_at=opens_at, wait_ms=wait_ms, rates=rates)
    if reply.outcome != "ADMITTED":
        return Admission(reply.outcome, rates=rates)
    expires_at = reply.detail["expiresAt"]
    token = tokens.sign(command.promotion_id, command.customer_id, expires_at, keys)
    return Admission(reply.outcome, token, expires_at, rates=rates)
