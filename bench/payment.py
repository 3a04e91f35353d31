"""What follows a grab where coupons have to be paid, against a plain DECR.

Every call does what it is for: it settles a coupon that was grabbed for it. So does the release
of what nobody paid for, where one call releases a batch.
"""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice

from redis import Redis
from redis.commands.core import Script

from bench import promotions
from bench.calls import caller, one_core
from bench.rows import Row, compare, per_second, take_turns
from chalicelib import clients
from chalicelib.commands import scripts
from localstack.cloud import LocalCloud

AT_LEAST = 0.35
_CALLS = 1500
_BATCH = 10
_DECR = "DECR"
_PAY = "pay script"
_GIVE_BACK = "give back script"
_EXPIRE = f"expired holds, {_BATCH} a call"
# The store's own clock, read as in clock.lua, one day on: every hold has come to its end.
_TOMORROW = """
local function now_ms()
  local time = redis.call('TIME')
  return (time[1] + 86400) * 1000 + math.floor(time[2] / 1000)
end
"""


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Payments, returns and releases per second."""
    store = clients.store()
    settled = promotions.install(store, promotions.PLENTY, hold_seconds=promotions.HOLD_S)
    counter = scripts.key(settled, "counter")
    with one_core(cloud):
        figures = take_turns(
            {
                _DECR: lambda: per_second(lambda: store.decr(counter), _CALLS),
                _PAY: _settles(store, settled, "pay", "PAID", "payment-reference"),
                _GIVE_BACK: _settles(store, settled, "give_back", "RELEASED"),
                _EXPIRE: lambda: _expired_per_second(store),
            }
        )
    store.delete(counter, *promotions.keys_of(settled))
    yield compare(figures, _PAY, "calls/s", against=_DECR, at_least=AT_LEAST)
    yield compare(figures, _GIVE_BACK, "calls/s", against=_DECR, at_least=AT_LEAST)
    yield compare(figures, _EXPIRE, "releases/s", against=_DECR)


def _settles(
    store: Redis, promotion_id: str, name: str, outcome: str, *arguments: str
) -> Callable[[], float]:
    call = caller(store, name, promotion_id, outcome)

    def side() -> float:
        coupons = _grabbed(store, promotion_id)
        return per_second(lambda: call(*next(coupons), *arguments), _CALLS)

    return side


def _grabbed(store: Redis, promotion_id: str) -> Iterator[tuple[str, int]]:
    """Customers and the numbers of the coupons that they have just grabbed."""
    names = list(islice(promotions.customers(), _CALLS))
    granted = store.hget(scripts.key(promotion_id, "promotion"), "granted")
    promotions.grab_all(store, promotion_id, names)
    return iter(list(zip(names, range(int(str(granted)) + 1, 1 << 62), strict=False)))


def _expired_per_second(store: Redis) -> float:
    promotion_id = promotions.install(store, _CALLS, hold_seconds=promotions.HOLD_S)
    _grabbed(store, promotion_id)
    keys, advance = promotions.keys_of(promotion_id), _advance_tomorrow(store)
    calls = _CALLS // _BATCH
    done = _BATCH * per_second(lambda: advance(keys=keys, args=[promotion_id]), calls)
    promotions.expect(store.zcard(scripts.key(promotion_id, "holds")), 0)
    store.delete(*keys)
    return done


@cache
def _advance_tomorrow(store: Redis) -> Script:
    return store.register_script(scripts.source("advance", _TOMORROW))
