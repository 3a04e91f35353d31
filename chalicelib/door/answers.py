"""HTTP answers: which outcome gets which status, headers and body. Knows no framework."""

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any
from urllib.parse import quote

from chalicelib.commands.admit import Admission
from chalicelib.commands.grab import Grab
from chalicelib.commands.pay import Settled
from chalicelib.door.checks import ID
from chalicelib.shapes import Coupon, Promotion

NO_STORE = {"Cache-Control": "no-store"}
ONE_SECOND = {"Cache-Control": "public, max-age=1"}
ONE_HOUR = {"Cache-Control": "public, max-age=3600"}
# What a page's script may read of an answer besides the body.
EXPOSED = ["Link", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"]
RETRY_AFTER_S = 1
_PROCESS = secrets.token_hex(4)
_requests = count(1)
FRAMEWORK_CODES = {405: "METHOD_NOT_ALLOWED", 415: "UNSUPPORTED_MEDIA_TYPE", 500: "INTERNAL_ERROR"}

PROBLEMS: dict[str, tuple[int, str]] = {
    "INVALID": (400, "The request is not valid"),
    "UNAUTHORIZED": (401, "A valid token is required"),
    "FORBIDDEN": (403, "The token is not good for this"),
    "NOT_STARTED": (403, "The promotion has not started"),
    "TOKEN_REQUIRED": (403, "A grab of this promotion needs a valid token"),
    "UNKNOWN_PROMOTION": (404, "There is no such promotion"),
    "UNKNOWN_ITEM": (404, "There is no such item"),
    "UNKNOWN_COUPON": (404, "The customer has no such coupon"),
    "NOT_FOUND": (404, "There is no such resource"),
    "METHOD_NOT_ALLOWED": (405, "The resource does not know this method"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "The body must be application/json"),
    "INTERNAL_ERROR": (500, "The server made a mistake"),
    "SOLD_OUT": (409, "The promotion is sold out"),
    "LIMIT_REACHED": (409, "The customer has as many coupons as one may have"),
    "IDEMPOTENCY_KEY_REUSED": (409, "The Idempotency-Key was used for another request"),
    "HOLD_EXPIRED": (409, "The payment came too late; a refund is due"),
    "COUPON_RELEASED": (409, "The coupon was given back; a refund is due"),
    "REVOKED": (409, "The store had forgotten the coupon, and its unit is another's"),
    "REFUND_DUE": (409, "The coupon was paid too late; a refund is due"),
    "ALREADY_PAID": (409, "The coupon is paid already"),
    "NOTHING_TO_PAY": (409, "The coupon needs no payment"),
    "NOT_RETURNABLE": (409, "The coupon is final and can't be given back"),
    "ALREADY_STARTED": (409, "The promotion has started and can't be edited"),
    "NO_TOKENS": (409, "This stage gives no tokens"),
    "TOO_MANY": (409, "The promotion would have more coupons than one may have"),
    "THROTTLED": (429, "Too many requests by this customer or from this address"),
    "FINISHED": (410, "The promotion is over"),
    "CANCELLED": (410, "The promotion was cancelled"),
    "STORE_ERROR": (500, "The store refused; nothing is known to have changed"),
    "ROW_UNREADABLE": (500, "A row of a table can't be read"),
    "RECOVERING": (503, "The promotion is being recovered"),
    "TOKENS_UNAVAILABLE": (503, "The server can't give or check tokens just now"),
    "STORE_UNAVAILABLE": (503, "The store does not answer"),
    "QUEUE_UNAVAILABLE": (503, "A queue does not answer"),
    "TABLE_UNAVAILABLE": (503, "A table does not answer"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body (already JSON) and headers."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


def problem(code: str, retry_after_s: int | None = None, **extra: Any) -> Answer:
    """An RFC 9457 problem whose `code` programs can compare; 503 asks to come back."""
    status, title = PROBLEMS[code]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after_s = RETRY_AFTER_S
    headers = {"Content-Type": "application/problem+json", **NO_STORE}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    body = {"type": "about:blank", "title": title, "status": status, "code": code, **extra}
    return Answer(status, _dump(body), headers)


def ok(body: Any, status: int = 200, headers: Mapping[str, str] = NO_STORE) -> Answer:
    """A body as JSON."""
    return Answer(status, _dump(body), {"Content-Type": "application/json", **headers})


def grabbed(grab: Grab) -> Answer:
    """What a customer hears: 201 is with the broker, 202 waits in the outbox, 200 is a repeat."""
    if grab.coupon is not None:
        status = 200 if grab.outcome == "REPEATED" else 201 if grab.published else 202
        return ok(grab.coupon.to_json(), status)
    if grab.outcome == "TOKEN_REQUIRED":
        return problem("TOKEN_REQUIRED", detail=grab.why)
    return _refused(grab)


def admitted(admission: Admission) -> Answer:
    """The token; or what a grab would be refused with."""
    if admission.outcome == "ADMITTED":
        return ok({"token": admission.token, "expiresAt": admission.expires_at}, 201)
    return _refused(admission)


def _refused(asked: Grab | Admission) -> Answer:
    wait_s = math.ceil(asked.wait_ms / 1000)
    if asked.outcome == "THROTTLED":
        return problem("THROTTLED", retry_after_s=wait_s)
    if asked.outcome == "NOT_STARTED":
        return problem("NOT_STARTED", retry_after_s=wait_s, opensAt=asked.opens_at)
    return problem(asked.outcome)


def settled(done: Settled) -> Answer:
    """200 with the coupon as it is now; a refusal shows the coupon too, where there is one."""
    if done.outcome in ("PAID", "RELEASED", "REPEATED") and done.coupon is not None:
        return ok(done.coupon.to_json())
    if done.coupon is None:
        return problem(done.outcome)
    return problem(done.outcome, coupon=done.coupon.to_json())


def html(text: str, headers: Mapping[str, str]) -> Answer:
    """A page for browsers."""
    return Answer(200, text, {"Content-Type": "text/html; charset=utf-8", **ONE_HOUR, **headers})


def request_id(headers: Mapping[str, str], context: Mapping[str, Any]) -> str:
    """The client's own id of its request if it sent one, else the gateway's."""
    sent = headers.get("x-request-id", "")
    if sent and ID.fullmatch(sent):
        return sent
    # The local server's gateway gives none.
    return str(context.get("requestId") or f"{_PROCESS}-{next(_requests)}")


def on_every_answer(request_id: str) -> dict[str, str]:
    """The headers of each answer: no browser guesses at a type, and the request's id is echoed."""
    return {"X-Content-Type-Options": "nosniff", "X-Request-Id": request_id}


def page(
    rows: Sequence[Coupon | Promotion], after: str | None, limit: int, also: str = ""
) -> Answer:
    """A plain array; a further page is named by a Link header (RFC 8288), relative to this one."""
    headers = dict(NO_STORE)
    if after is not None:
        headers["Link"] = f'<?after={quote(after)}&limit={limit}{also}>; rel="next"'
    return ok([row.to_json() for row in rows], headers=headers)


def _dump(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))
