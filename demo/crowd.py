"""The crowd: every customer grabs once, a bounded number of them at the same time.

A program of its own, because Locust replaces the blocking parts of the standard library.
Writes what each customer was answered to a file, one line each (see history.py).
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import gevent
from locust import FastHttpUser, task
from locust.env import Environment
from locust.exception import StopUser

from demo.history import Attempt

TIMEOUT_S = 30.0
# A 202 waits for the sweep, which comes once a minute.
WATCH_S = 75.0
# A winner looks soon, and less often the longer it takes: the queries that find nothing cost
# the tables as much as the writes they wait for.
FIRST_LOOK_S = 0.15
NEXT_LOOK_FACTOR = 1.3
LONGEST_PAUSE_S = 1.0


@dataclass(slots=True)
class Sale:
    """What all users of the crowd share: whose turn it is, and where answers are written."""

    promotion_id: str
    customers: Iterator[int]
    history: IO[str]
    watchers: list[gevent.Greenlet] = field(default_factory=list)


class Customer(FastHttpUser):
    """A place in the crowd: takes the next customer from the queue until all are served."""

    sale: Sale
    network_timeout = TIMEOUT_S
    connection_timeout = TIMEOUT_S

    @task
    def next_customer(self) -> None:
        """Grab for the next customer; a winner is watched while the next one has their turn."""
        position = next(self.sale.customers, None)
        if position is None:
            raise StopUser
        attempt = self.grab(f"customer-{position}")
        if attempt.granted:
            self.sale.watchers.append(gevent.spawn(self.watch, attempt))
        else:
            self.sale.history.write(attempt.to_line())

    def grab(self, customer_id: str) -> Attempt:
        """One grab, once: whatever is answered is the answer."""
        started = time.time()
        before = time.perf_counter()
        response = self.client.post(
            "/command/coupons",
            json={"promotionId": self.sale.promotion_id, "customerId": customer_id},
            name="grab",
        )
        latency_ms = (time.perf_counter() - before) * 1000
        body = _json(response.text)
        coupon = body if response.status_code < 300 else {}  # noqa: PLR2004
        return Attempt(
            customer_id=customer_id,
            status=response.status_code,
            code=str(
                body.get("code")
                or body.get("state")
                or type(getattr(response, "error", None)).__name__
            ),
            coupon_id=str(coupon.get("couponId", "")),
            number=int(coupon.get("number", 0)),
            started_ms=round(started * 1000, 3),
            latency_ms=round(latency_ms, 3),
        )

    def watch(self, attempt: Attempt) -> None:
        """Read the winner's coupons until the new one is among them, and write the attempt."""
        answered = time.perf_counter()
        visible_ms = None
        pause_s = FIRST_LOOK_S
        while visible_ms is None and time.perf_counter() - answered < WATCH_S:
            gevent.sleep(pause_s)
            pause_s = min(pause_s * NEXT_LOOK_FACTOR, LONGEST_PAUSE_S)
            response = self.client.get(f"/query/coupons/{attempt.customer_id}", name="look")
            if f'"{attempt.coupon_id}"' in (response.text or ""):
                visible_ms = round((time.perf_counter() - answered) * 1000, 3)
        self.sale.history.write(replace(attempt, visible_ms=visible_ms).to_line())


def _json(text: str | None) -> dict[str, Any]:
    try:
        body = json.loads(text or "")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def run_crowd(url: str, promotion_id: str, customers: int, users: int, history: Path) -> None:
    """Let `customers` grab, `users` at the same time; returns when the last winner is watched."""
    with history.open("w", buffering=1, encoding="utf-8") as file:  # a line at a time
        sale = Sale(promotion_id, iter(range(1, customers + 1)), file)
        Customer.sale = sale
        environment = Environment(user_classes=[Customer], host=url, catch_exceptions=False)
        runner = environment.create_local_runner()
        runner.start(users, spawn_rate=users, wait=True)
        gevent.joinall([runner.spawning_greenlet])  # with `wait` it ends when all users have
        gevent.joinall(sale.watchers, raise_error=True)
        runner.quit()


def main() -> None:
    """`python -m demo.crowd`: see its arguments."""
    parser = argparse.ArgumentParser(prog="python -m demo.crowd", description=__doc__)
    parser.add_argument("--url", required=True, help="where the API is")
    parser.add_argument("--promotion", required=True, help="what everybody wants a coupon of")
    parser.add_argument("--customers", type=int, required=True, help="how many there are")
    parser.add_argument("--users", type=int, required=True, help="how many at the same time")
    parser.add_argument("--history", type=Path, required=True, help="the file to write")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    run_crowd(given.url, given.promotion, given.customers, given.users, given.history)


if __name__ == "__main__":
    main()
