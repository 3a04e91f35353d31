"""A grab among a hundred thousand unpaid coupons, against one among none.

A winner does not pay for the size of the crowd before them: nothing grows with open holds.
"""

from collections.abc import Callable, Iterator

from redis import Redis

from bench import promotions
from bench.calls import caller, one_core
from bench.rows import Row, compare, per_second, take_turns
from chalicelib import clients
from localstack.cloud import LocalCloud

AT_LEAST = 0.85
OPEN = 100_000
_CALLS = 1500
_AMONG_MANY = f"grab script, winner, {OPEN:,} open holds"
_AMONG_NONE = "the same, none"


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Winners per second with many open holds and with none."""
    store = clients.store()
    crowded = _promotion(store)
    promotions.grab_all(store, crowded, promotions.customers(OPEN))
    with one_core(cloud):
        figures = take_turns(
            {
                _AMONG_NONE: lambda: _among_none(store),
                _AMONG_MANY: _winners(store, crowded),
            }
        )
    store.delete(*promotions.keys_of(crowded))
    yield compare(figures, _AMONG_MANY, "calls/s", against=_AMONG_NONE, at_least=AT_LEAST)


def _promotion(store: Redis) -> str:
    return promotions.install(store, promotions.PLENTY, hold_seconds=promotions.HOLD_S)


def _winners(store: Redis, promotion_id: str) -> Callable[[], float]:
    call, customers = caller(store, "grab", promotion_id, "GRANTED"), promotions.customers()
    return lambda: per_second(lambda: call(next(customers), "key"), _CALLS)


def _among_none(store: Redis) -> float:
    """A promotion for this round alone: its only open holds are those of the round."""
    promotion_id = _promotion(store)
    figure = _winners(store, promotion_id)()
    store.delete(*promotions.keys_of(promotion_id))
    return figure
