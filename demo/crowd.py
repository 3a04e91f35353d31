"""The crowd: every customer grabs once, a bounded number of them at the same time.

Where coupons must be paid, winners pay or let go, and losers come back (see paying.py).

A program of its own, because Locust replaces the blocking parts of the standard library.
Writes what each customer was answered to a file, one line each (see history.py).
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import gevent
from locust import FastHttpUser, task
from locust.env import Environment
from locust.exception import StopUser

from demo.history import PAID, RETURNED, TOO_LATE, Attempt, Settlement
from demo.paying import LAPSE, PAUSE_S, PAYMENT, RETURN, Paying

TIMEOUT_S = 30.0
# A 202 waits for the sweep, which comes once a minute.
WATCH_S = 75.0
# A winner looks soon, and less often the longer it takes: the queries that find nothing cost
# the tables as much as the writes they wait for.
FIRST_LOOK_S = 0.15
# Where payments compete with looks for the same workers, and have a deadline.
FIRST_LOOK_OF_PAYERS_S = 0.5
NEXT_LOOK_FACTOR = 1.3
LONGEST_PAUSE_S = 1.0
# The answer comes after the decision, so by then the store's clock is past the deadline, too.
AFTER_DEADLINE_S = 0.05


@dataclass(slots=True)
class Sale:
    """What all users of the crowd share: whose turn it is, and where answers are written."""

    promotion_id: str
    customers: Iterator[int]
    history: IO[str]
    watchers: list[gevent.Greenlet] = field(default_factory=list)
    paying: Paying | None = None


class Customer(FastHttpUser):
    """A place in the crowd: takes the next customer from the queue until all are served."""

    sale: Sale
    network_timeout = TIMEOUT_S
    connection_timeout = TIMEOUT_S

    returns: bool = False

    @task
    def next_customer(self) -> None:
        """Grab for the next customer; a winner is watched while the next one has their turn."""
        position = next(self.sale.customers, None)
        customer_id = self.returning() if position is None else f"customer-{position}"
        if customer_id is None:
            gevent.sleep(PAUSE_S)
            return
        attempt = self.grab(customer_id)
        if attempt.granted:
            self.sale.watchers.append(gevent.spawn(self.watch, attempt))
            if self.sale.paying:
                self.sale.watchers.append(gevent.spawn(self.settle, attempt, self.sale.paying))
            return
        self.sale.history.write(attempt.to_line())
        if self.sale.paying:
            self.sale.paying.again.append(customer_id)
            if self.returns:
                gevent.sleep(PAUSE_S)

    def returning(self) -> str | None:
        """Whoever comes back next; None while there is nobody, and the end when all is paid.

        Raises:
            StopUser: nobody comes back to this place.
        """
        paying = self.sale.paying
        if paying is None or paying.is_over(time.monotonic()):
            raise StopUser
        if not self.returns and not paying.take_place():
            raise StopUser
        self.returns = True
        return paying.again.popleft() if paying.again else None

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
            code=_code(body, response),
            coupon_id=str(coupon.get("couponId", "")),
            number=int(coupon.get("number", 0)),
            started_ms=round(started * 1000, 3),
            latency_ms=round(latency_ms, 3),
        )

    def settle(self, attempt: Attempt, paying: Paying) -> None:
        """Pay the winner's coupon, or give it back, or let it expire; then they come back."""
        plan, after_s = paying.plan(attempt.customer_id, time.monotonic())
        if plan == LAPSE:
            gevent.sleep(paying.hold_s + AFTER_DEADLINE_S)
            paying.again.append(attempt.customer_id)
            return
        gevent.sleep(after_s)
        settlement = self.pay(attempt) if plan == PAYMENT else self.give_back(attempt)
        paying.settlements.write(settlement.to_line())
        paying.paid += settlement.answer == PAID
        if settlement.answer in (RETURNED, TOO_LATE):
            paying.again.append(attempt.customer_id)

    def pay(self, attempt: Attempt) -> Settlement:
        """One payment, once."""
        started, before = time.time(), time.perf_counter()
        response = self.client.post(
            f"/command/coupons/{attempt.coupon_id}/payment",
            json={
                "customerId": attempt.customer_id,
                "paymentReference": f"payment-{attempt.number}",
            },
            name="pay",
        )
        return _settlement(attempt, PAYMENT, response, started, before)

    def give_back(self, attempt: Attempt) -> Settlement:
        """One return, once."""
        started, before = time.time(), time.perf_counter()
        response = self.client.delete(
            f"/command/coupons/{attempt.coupon_id}?customerId={attempt.customer_id}",
            name="give back",
        )
        return _settlement(attempt, RETURN, response, started, before)

    def watch(self, attempt: Attempt) -> None:
        """Read the winner's coupons until the new one is among them, and write the attempt."""
        answered = time.perf_counter()
        visible_ms = None
        pause_s = FIRST_LOOK_OF_PAYERS_S if self.sale.paying else FIRST_LOOK_S
        while visible_ms is None and time.perf_counter() - answered < WATCH_S:
            gevent.sleep(pause_s)
            pause_s = min(pause_s * NEXT_LOOK_FACTOR, LONGEST_PAUSE_S)
            response = self.client.get(f"/query/coupons/{attempt.customer_id}", name="look")
            if f'"{attempt.coupon_id}"' in (response.text or ""):
                visible_ms = round((time.perf_counter() - answered) * 1000, 3)
        self.sale.history.write(replace(attempt, visible_ms=visible_ms).to_line())


def _settlement(
    attempt: Attempt, did: str, response: Any, started: float, before: float
) -> Settlement:
    return Settlement(
        customer_id=attempt.customer_id,
        coupon_id=attempt.coupon_id,
        did=did,
        status=response.status_code,
        code=_code(_json(response.text), response),
        started_ms=round(started * 1000, 3),
        latency_ms=round((time.perf_counter() - before) * 1000, 3),
    )


def _code(body: dict[str, Any], response: Any) -> str:
    """The problem's code, or the coupon's state, or what kept the answer from coming."""
    error = type(getattr(response, "error", None)).__name__
    return str(body.get("code") or body.get("state") or error)


def _json(text: str | None) -> dict[str, Any]:
    try:
        body = json.loads(text or "")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def run_crowd(given: argparse.Namespace) -> None:
    """Let the customers grab; returns when the last winner is watched and has settled."""
    with ExitStack() as files:

        def lines(path: Path) -> IO[str]:
            return files.enter_context(path.open("w", buffering=1, encoding="utf-8"))

        sale = Sale(given.promotion, iter(range(1, given.customers + 1)), lines(given.history))
        if given.hold:
            units = min(given.coupons, given.customers)
            sale.paying = Paying(given.hold, given.pay, units, lines(given.settlements))
        Customer.sale = sale
        environment = Environment(user_classes=[Customer], host=given.url, catch_exceptions=False)
        runner = environment.create_local_runner()
        runner.start(given.users, spawn_rate=given.users, wait=True)
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
    parser.add_argument("--hold", type=int, default=0, help="seconds to pay in; 0: nothing to pay")
    parser.add_argument("--pay", type=float, default=1, help="the chance that a winner pays")
    parser.add_argument("--coupons", type=int, default=0, help="how many have to be paid")
    parser.add_argument("--settlements", type=Path, help="the file to write payments to")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    run_crowd(given)


if __name__ == "__main__":
    main()
