"""Lateness where nobody grabs: a timer has to tell that a promotion starts or ends.

A customer never waits for a timer, every script looks at the clock first. Lateness is the time
of an event, by the store's clock, minus the time at which it was due.
"""

import http.client
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bench.promotions import expect
from bench.rows import InvalidMeasurement, Row
from chalicelib import clients
from chalicelib.journal import EventRow
from localstack.cloud import LocalCloud

AT_MOST_MS = 1000
_CONNECTIONS = 4
_AT_ONE_INSTANT = 20
_ODD_MS = (137, 251, 389, 463, 587, 719, 853, 997)
_UNPAID = 6
_HOLD_S = 2
# Time to create them all before the first is due.
_AHEAD_MS = 3000
_OPEN_MS = 2000
_GIVE_UP_S = 15.0


@dataclass(frozen=True, slots=True)
class Due:
    """One event that has to come without traffic, and when (ms)."""

    kind: str
    promotion_id: str
    type: str
    at: int


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Median and worst lateness in milliseconds, of starts, ends, and releases of the unpaid."""
    post = _poster(cloud.url)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        due = list(pool.map(lambda number: _unpaid(post, "release alone", number), range(_UNPAID)))
        found = happened(due)
        instant = clients.store_clock_ms() + _AHEAD_MS
        planned = [("at one instant", instant)] * _AT_ONE_INSTANT
        planned += [("at odd milliseconds", instant + odd) for odd in _ODD_MS]
        for events in pool.map(lambda plan: _promotion(post, *plan), planned):
            due += events
        if clients.store_clock_ms() >= instant:
            message = f"creating {len(planned)} promotions took longer than {_AHEAD_MS} ms"
            raise InvalidMeasurement(message)
        due += pool.map(
            lambda number: _unpaid(post, "release among starts", number), range(_UNPAID)
        )
    found |= happened(due[_UNPAID:])
    for kind, late in lateness(due, found).items():
        for measure, value in _summary(late):
            at_most = AT_MOST_MS if measure == "worst" else None
            yield Row(name=f"{kind}, late: {measure}", value=value, unit="ms", at_most=at_most)


def lateness(
    due: Sequence[Due], happened: Mapping[tuple[str, str], int]
) -> dict[str, Sequence[int]]:
    """By kind, how late (ms) each event was, given when each (promotion, type) happened."""
    late: dict[str, list[int]] = {}
    for event in due:
        by = happened[event.promotion_id, event.type] - event.at
        late.setdefault(event.kind, []).append(by)
    return dict(late)


def _summary(late: Sequence[int]) -> Iterator[tuple[str, float]]:
    yield f"median of {len(late)}", statistics.median(late)
    yield "worst", max(late)


def _promotion(post: Callable[..., Any], kind: str, opens_at: int) -> list[Due]:
    closes_at = opens_at + _OPEN_MS
    created = post("/admin/promotions", publishTime=opens_at, finishTime=closes_at, **_OFFER)
    promotion_id = created["promotionId"]
    return [
        Due(f"start {kind}", promotion_id, "PromotionStarted", opens_at),
        Due(f"end {kind}", promotion_id, "PromotionFinished", closes_at),
    ]


def _unpaid(post: Callable[..., Any], kind: str, number: int) -> Due:
    """A coupon that is grabbed now and never paid."""
    now = clients.store_clock_ms()
    times = {"publishTime": now, "finishTime": now + 60_000, "holdSeconds": _HOLD_S}
    promotion_id = post("/admin/promotions", **times, **_OFFER)["promotionId"]
    customer_id = f"never-pays-{number}"
    coupon = post("/command/coupons", promotionId=promotion_id, customerId=customer_id)
    return Due(kind, promotion_id, "CouponReleased", coupon["deadline"])


_OFFER: dict[str, Any] = {"numberOfCoupons": 5, "discount": 0.5}


def _poster(url: str) -> Callable[..., Any]:
    address = urlsplit(url)

    def post(path: str, **body: Any) -> Any:
        connection = http.client.HTTPConnection(address.netloc, timeout=10)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.load(response)
        finally:
            connection.close()
        expect(response.status, 201)
        return answer

    return post


def happened(due: Sequence[Due], within_s: float = _GIVE_UP_S) -> dict[tuple[str, str], int]:
    """When each (promotion, type) happened, once the journal has all that is due.

    Raises:
        InvalidMeasurement: it does not have them in time.
    """
    waiting = {(event.promotion_id, event.type) for event in due}
    found: dict[tuple[str, str], int] = {}
    give_up = time.monotonic() + within_s
    while waiting:
        if time.monotonic() > give_up:
            message = f"{len(waiting)} of {len(due)} events did not come"
            raise InvalidMeasurement(message)
        # Reading costs the machine more than waiting.
        time.sleep(1)
        for promotion_id in {name for name, _ in waiting}:
            for row in EventRow.query(promotion_id, consistent_read=True):
                found[promotion_id, row.type] = int(row.at)
        waiting -= found.keys()
        print(".", end="", flush=True)
    return found
