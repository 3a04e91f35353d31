"""The shop's operator: puts promotions of every kind on sale, adds stock, cancels.

Run as `python -m chaos.shop`. What the crowd may know is appended to a file, the plan.
"""

import argparse
import heapq
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.client import Client, Command

WAVE_S = 11.0
OPEN_S = (14.0, 22.0)
# No wave begins that late, and every sale ends that long after the last fault.
LAST_WAVE_S = 6.0
ENDS_AFTER_S = 3.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of promotion: its offer, and what the operator does during the sale.

    Seconds from the wave's begin: when it opens, when it is restocked and by how many, when it
    is cancelled.
    """

    stock: int
    limit: int = 1
    hold_s: int = 0
    item: bool = False
    opens_s: float = 0.0
    restocks: tuple[tuple[float, int], ...] = ()
    cancelled_s: float | None = None


KINDS = (
    Kind(stock=45, item=True),
    Kind(stock=25, hold_s=1, opens_s=1.5, item=True),
    Kind(stock=60, limit=3, opens_s=0.5),
    Kind(stock=15, limit=2, hold_s=2, restocks=((4.0, 10), (7.5, 5))),
    Kind(stock=40, hold_s=2, cancelled_s=7.0),
)


class Shop:
    """Works through a list of things to do, each at its time."""

    def __init__(self, client: Client, plan: Path, until: float, rng: random.Random) -> None:
        """Until `until` (epoch seconds) faults happen."""
        self._client = client
        self._plan = plan
        self._until = until
        self._rng = rng
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._item: str | None = None
        self._count = 0

    def run(self) -> None:
        """Do everything there is to do; ends when the last sale needs nothing more."""
        self._at(time.time(), self._wave)
        while self._due:
            at, _, do = heapq.heappop(self._due)
            time.sleep(max(0.0, at - time.time()))
            do()

    def _at(self, at: float, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (at, self._count, do))

    def _wave(self) -> None:
        begin = time.time()
        if self._item is None:
            item = Command("item", "POST", "/admin/items", {"name": "A lamp", "listPrice": "19.99"})
            self._item = self._client.send(item).body.get("itemId")
        for kind in KINDS:
            self._open(kind, time.time())
        if begin + WAVE_S < self._until - LAST_WAVE_S:
            self._at(begin + WAVE_S, self._wave)

    def _open(self, kind: Kind, begin: float) -> None:
        closes = min(begin + self._rng.uniform(*OPEN_S), self._until + ENDS_AFTER_S)
        if begin + kind.opens_s >= closes:  # the operator was kept waiting: there is no time left
            return
        opens_at, closes_at = int((begin + kind.opens_s) * 1000), int(closes * 1000)
        offer: dict[str, Any] = {
            "numberOfCoupons": kind.stock,
            "discount": "0.35",
            "publishTime": opens_at,
            "finishTime": closes_at,
            "couponsPerCustomer": kind.limit,
            "holdSeconds": kind.hold_s,
        }
        if kind.item and self._item:
            offer["itemId"] = self._item
        facts = {"opens_at": opens_at, "closes_at": closes_at}
        key = f"offer-{self._rng.randrange(10**9)}"
        answer = self._client.insist(
            Command("create", "POST", "/admin/promotions", offer, key=key, facts=facts), self._until
        )
        if not answer.good:
            return
        name = str(answer.body["promotionId"])
        entry = {"promotion": name, "stock": kind.stock, "limit": kind.limit,
                 "hold_s": kind.hold_s, **facts}  # fmt: skip
        with self._plan.open("a", encoding="utf-8") as plan:
            plan.write(json.dumps(entry) + "\n")
        for after_s, add in kind.restocks:
            self._at(begin + after_s, lambda add=add: self._restock(name, add))  # type: ignore[misc]
        if kind.cancelled_s is not None:
            self._at(begin + kind.cancelled_s, lambda: self._cancel(name))

    def _restock(self, name: str, add: int) -> None:
        key = f"restock-{name}-{self._rng.randrange(10**9)}"
        path = f"/admin/promotions/{name}/stock"
        command = Command("restock", "POST", path, {"add": add}, promotion=name, key=key,
                          facts={"added": add})  # fmt: skip
        self._client.insist(command, self._until)

    def _cancel(self, name: str) -> None:
        path = f"/admin/promotions/{name}"
        self._client.insist(Command("cancel", "DELETE", path, None, promotion=name), self._until)


def main() -> None:
    """`python -m chaos.shop`: see its arguments."""
    parser = argparse.ArgumentParser(prog="python -m chaos.shop", description=__doc__)
    parser.add_argument("--url", action="append", required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--until", type=float, required=True, help="epoch s of the last fault")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    Shop(Client(given.url, given.history, rng), given.plan, given.until, rng).run()


if __name__ == "__main__":
    main()
