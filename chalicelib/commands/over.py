"""Marks of promotions that are over: most of a crowd comes too late, and costs the store nothing.

Nobody wins anything once a promotion is over, so who has a coupon by then is known for good. A
process that has heard "over" notes the customers who have a record; everybody else is answered
from the mark, and these still ask the store, so no winner's retry is ever told "sold out". A
promotion that is merely out of stock is not over: a unit may come back at any moment.

A mark holds for a second and is then checked again with one cheap call, so whatever an operator
may have done to the store shows within that time. Whom it has answered is counted in the mark and
reported when it is renewed: a line for each of a million losers would cost more than the answer.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from redis import Redis

from chalicelib import telemetry
from chalicelib.commands import scripts

HOLDS_S = 1.0
# Beyond this many winners a mark would cost a process more than it saves.
MOST_CUSTOMERS = 20_000
_MOST_MARKS = 100
_SAMPLE = 10
_PIECE = 1000


@dataclass(slots=True)
class _Mark:
    """proof: what the customers were read with; see `_read_proof`."""

    closed_as: str
    customers: frozenset[str]
    proof: tuple[str | None, ...]
    until: float
    told: int = 0


_marks: OrderedDict[str, _Mark] = OrderedDict()


def marked(promotion_id: str, customer_id: str) -> str | None:
    """How the promotion ended, if that is all this customer can be told; else ask the store."""
    mark = _marks.get(promotion_id)
    if mark is None or mark.until <= time.monotonic() or customer_id in mark.customers:
        return None
    mark.told += 1
    return mark.closed_as


def mark(promotion_id: str, closed_as: str, store: Redis) -> None:
    """Note that the store has just called the promotion over.

    Raises:
        redis.RedisError: the store is away.
    """
    known = _marks.get(promotion_id)
    if known is not None:
        if known.until > time.monotonic():
            return
        _report(promotion_id, known)
    count, proof, some = _read_proof(promotion_id, store)
    if count > MOST_CUSTOMERS:
        _marks.pop(promotion_id, None)
        return
    if known is None or known.proof != proof or not known.customers.issuperset(some):
        customers = _customers(promotion_id, store)
    else:
        customers = known.customers
    _marks[promotion_id] = _Mark(closed_as, customers, proof, time.monotonic() + HOLDS_S)
    _marks.move_to_end(promotion_id)
    if len(_marks) > _MOST_MARKS:
        _report(*_marks.popitem(last=False))


def _read_proof(promotion_id: str, store: Redis) -> tuple[int, tuple[str | None, ...], list[str]]:
    """How many customers there are, what changes whenever they do, and a few of them.

    Every change of a customer's coupons is an event, and so has a version; a recovery begins a new
    generation of versions, in another history of the store or not. The few are for what is written
    by hand. One round trip, whatever the number of customers.
    """
    customers = scripts.key(promotion_id, "customers")
    pipe: Any = store.pipeline(transaction=False)
    pipe.hmget(scripts.key(promotion_id, "promotion"), ["version", "history", "closed_as"])
    pipe.hlen(customers)
    pipe.hrandfield(customers, _SAMPLE)
    proof, count, some = pipe.execute()
    return int(count), (str(count), *proof), some or []


def _customers(promotion_id: str, store: Redis) -> frozenset[str]:
    key = scripts.key(promotion_id, "customers")
    return frozenset(str(name) for name, _ in store.hscan_iter(key, count=_PIECE))


def forget(promotion_id: str) -> None:
    """Drop a mark of this process: the store has been given back what it had forgotten."""
    known = _marks.pop(promotion_id, None)
    if known is not None:
        _report(promotion_id, known)


def _report(promotion_id: str, mark: _Mark) -> None:
    if mark.told:
        telemetry.count("grabs", mark.told, by={"outcome": mark.closed_as}, promotion=promotion_id)
        mark.told = 0
