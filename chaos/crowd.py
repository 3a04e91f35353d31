"""Customers: grab, pay, give back, let expire, ask again when nothing came back.

Run as `python -m chaos.crowd`, several at the same time.
"""

import argparse
import random
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.client import Client, Command, read_lines

# Who comes: so many times the stock, so that some come twice and some go home with nothing.
CUSTOMERS_PER_UNIT = 2.5
THINK_S = (0.02, 0.3)
# A little before a sale opens, and a little after it has closed.
EARLY_S = 0.7
LATE_S = 2.0
# The first three of what the holder of an unpaid coupon does; the rest let it expire.
PAYS, GIVES_BACK, PAYS_LATE = 0.5, 0.15, 0.2
ASKS_AGAIN = 0.15
# The last requests are insisted on for so long after the crowd has stopped coming.
GRACE_S = 8.0


class Plan:
    """The promotions there are, as the shop has announced them."""

    def __init__(self, path: Path) -> None:
        """Read `path` again and again."""
        self._path = path
        self._until = 0.0
        self._entries: list[Any] = []

    def open(self) -> list[Any]:
        """Those that are worth going to now."""
        now = time.time()
        if now > self._until:
            self._entries = read_lines(self._path)
            self._until = now + 0.3
        return [
            entry
            for entry in self._entries
            if entry["opens_at"] / 1000 - EARLY_S < now < entry["closes_at"] / 1000 + LATE_S
        ]


class Customers:
    """One thread's customers, one after the other."""

    def __init__(self, client: Client, plan: Plan, until: float, seed: str) -> None:
        """They come until `until` (epoch seconds)."""
        self._client = client
        self._plan = plan
        self._until = until
        self._rng = random.Random(seed)

    def run(self) -> None:
        """Until nobody comes any more."""
        while time.time() < self._until:
            entries = self._plan.open()
            if entries:
                self._visit(self._rng.choice(entries))
            time.sleep(self._rng.uniform(*THINK_S))

    def _visit(self, entry: Mapping[str, Any]) -> None:
        crowd = int(entry["stock"] * CUSTOMERS_PER_UNIT / entry["limit"]) + 1
        customer = f"customer-{self._rng.randrange(crowd)}"
        times = 1 if entry["limit"] == 1 else self._rng.randint(1, entry["limit"] + 1)
        for _ in range(times):
            key = f"key-{self._rng.randrange(10**12)}" if entry["limit"] > 1 else None
            grab = Command(
                "grab", "POST", "/command/coupons",
                {"promotionId": entry["promotion"], "customerId": customer},
                promotion=entry["promotion"], customer=customer, key=key,
            )  # fmt: skip
            answer = self._insist(grab)
            if not answer:
                return
            if self._rng.random() < ASKS_AGAIN:
                self._insist(grab)
            if entry["hold_s"]:
                self._settle(entry, customer, answer)

    def _settle(self, entry: Mapping[str, Any], customer: str, coupon: Mapping[str, Any]) -> None:
        """Pay, in time or late, or give back, or forget it."""
        number = int(coupon["number"])
        path = f"/command/coupons/{entry['promotion']}-{number}"
        choice = self._rng.random()
        if choice < PAYS + GIVES_BACK:
            time.sleep(entry["hold_s"] * self._rng.uniform(0, 0.9))
        elif choice < PAYS + GIVES_BACK + PAYS_LATE:
            time.sleep(entry["hold_s"] * self._rng.uniform(0.95, 1.6))
        else:
            return
        # One coupon, one payment: a recovery may change its number, but not when it was grabbed.
        reference = f"paid-{entry['promotion']}-{coupon['grabbedAt']}-{customer}"
        facts = {"number": number, "reference": reference}
        command = Command(
            "pay", "POST", f"{path}/payment",
            {"customerId": customer, "paymentReference": facts["reference"]},
            promotion=entry["promotion"], customer=customer, facts=facts,
        )  # fmt: skip
        if PAYS <= choice < PAYS + GIVES_BACK:
            command = Command(
                "give_back", "DELETE", f"{path}?customerId={customer}", None,
                promotion=entry["promotion"], customer=customer, facts=facts,
            )  # fmt: skip
        self._insist(command)

    def _insist(self, command: Command) -> Mapping[str, Any]:
        answer = self._client.insist(command, self._until + GRACE_S)
        return answer.body if answer.good else {}


def main() -> int:
    """`python -m chaos.crowd`: see its arguments; 1 when a customer met a fault of this program."""
    parser = argparse.ArgumentParser(prog="python -m chaos.crowd", description=__doc__)
    parser.add_argument("--url", action="append", required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--until", type=float, required=True, help="epoch s of the last customer")
    given = parser.parse_args()
    client = Client(given.url, given.history, random.Random(given.seed))
    faults: list[str] = []
    threading.excepthook = lambda failure: faults.append(repr(failure.exc_value))
    plan = Plan(given.plan)
    threads = [
        threading.Thread(
            target=Customers(client, plan, given.until, f"{given.seed} {number}").run, daemon=True
        )
        for number in range(given.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        print(faults[0], file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
