"""HTTP answers: which outcome gets which status, headers and body. Knows no framework."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import redis

from chalicelib.commands.create_promotion import Created
from chalicelib.commands.grab import Grab
from chalicelib.shapes import Coupon

NO_STORE = {"Cache-Control": "no-store"}
ONE_SECOND = {"Cache-Control": "public, max-age=1"}
RETRY_AFTER_S = 1
# What a store says that is there but can't serve just now, mostly during a fail-over.
STORE_AWAY = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.OutOfMemoryError,
)
FRAMEWORK_CODES = {405: "METHOD_NOT_ALLOWED", 415: "UNSUPPORTED_MEDIA_TYPE", 500: "INTERNAL_ERROR"}

_PROBLEMS: dict[str, tuple[int, str]] = {
    "INVALID": (400, "The request is not valid"),
    "NOT_STARTED": (403, "The promotion has not started"),
    "UNKNOWN_PROMOTION": (404, "There is no such promotion"),
    "NOT_FOUND": (404, "There is no such resource"),
    "METHOD_NOT_ALLOWED": (405, "The resource does not know this method"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "The body must be application/json"),
    "INTERNAL_ERROR": (500, "The server made a mistake"),
    "SOLD_OUT": (409, "The promotion is sold out"),
    "FINISHED": (410, "The promotion is over"),
    "CANCELLED": (410, "The promotion was cancelled"),
    "STORE_ERROR": (500, "The store refused; nothing is known to have changed"),
    "RECOVERING": (503, "The promotion is being recovered"),
    "STORE_UNAVAILABLE": (503, "The store does not answer"),
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
    status, title = _PROBLEMS[code]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after_s = RETRY_AFTER_S
    headers = {"Content-Type": "application/problem+json", **NO_STORE}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    body = {"type": "about:blank", "title": title, "status": status, "code": code, **extra}
    return Answer(status, _dump(body), headers)


def ok(body: Any, status: int = 200, headers: Mapping[str, str] = NO_STORE) -> Answer:
    """A body as JSON."""
    return Answer(status, _dump(body), {"Content-Type": "application/json", **headers})


def created(done: Created) -> Answer:
    """201 with the promotion; 202 when the store was lost just now and the sweep installs it."""
    return ok(done.promotion.to_json(), 201 if done.installed else 202)


def grabbed(grab: Grab) -> Answer:
    """What a customer hears: 201 is with the broker, 202 waits in the outbox, 200 is a repeat."""
    if grab.coupon is not None:
        status = 200 if grab.outcome == "REPEATED" else 201 if grab.published else 202
        return ok(grab.coupon.to_json(), status)
    if grab.outcome == "NOT_STARTED":
        wait_s = math.ceil(grab.wait_ms / 1000)
        return problem("NOT_STARTED", retry_after_s=wait_s, opensAt=grab.opens_at)
    return problem(grab.outcome)


def page(coupons: Sequence[Coupon], after: str | None, limit: int) -> Answer:
    """A plain array; a further page is named by a Link header (RFC 8288), relative to this one."""
    headers = dict(NO_STORE)
    if after is not None:
        headers["Link"] = f'<?after={quote(after)}&limit={limit}>; rel="next"'
    return ok([coupon.to_json() for coupon in coupons], headers=headers)


def _dump(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))
