"""The grab script against a plain DECR, the least that any counter of stock can cost.

Twice: as a worker calls it, one call of the client library and one round trip each, and
pipelined from ready-made bytes, where the store's own work is what remains.
"""

import socket
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from redis import Redis

from bench import promotions
from bench.calls import caller, one_core, pack, pipelined_per_second
from bench.rows import Figures, Row, compare, per_second, take_turns
from chalicelib import clients
from chalicelib.commands import scripts
from localstack.cloud import LocalCloud

AT_LEAST = 0.5
_SHED_AT_LEAST = 1.2
_CALLS = 1500
_PIPELINED = 3000
_DECR = "DECR"
_LOSER = "grab script, loser"
_OUT = "grab script, out of stock"
_RUN = "scripts.run, loser"
_WINNER = "grab script, winner"
_REPEAT = "grab script, repeat"
_OWNER = "customer-who-has-one"
# Limits of a customer and of an address: of the first a call an hour, so the second is refused.
_THROTTLED = "grab script, throttled"
_WITHIN = "grab script, winner within limits"
_SHED, _WIDE = (3_600_000_000, 1), (100, 100_000)


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Calls per second of each outcome, one at a time and pipelined."""
    store = clients.store()
    over = promotions.sell_out(store)
    out = promotions.sell_out(store, hold_seconds=promotions.HOLD_S)
    on_sale = promotions.install(store, promotions.PLENTY)
    promotions.grab_all(store, on_sale, [_OWNER])
    ids = {_LOSER: over, _OUT: out, _WINNER: on_sale, _REPEAT: on_sale}
    counter = scripts.key(over, "counter")
    with one_core(cloud):
        yield from _one_by_one(store, counter, ids)
    yield from _pipelined(store, cloud.environ["REDIS_URL"], counter, ids)
    for promotion_id in (over, out, on_sale):
        store.delete(*promotions.keys_of(promotion_id))
    store.delete(counter)


def _one_by_one(store: Redis, counter: str, ids: dict[str, str]) -> Iterator[Row]:
    customers = promotions.customers()

    def side(name: str, outcome: str) -> Callable[[], float]:
        call = caller(store, "grab", ids[name], outcome)
        return lambda: per_second(lambda: call(next(customers), "key"), _CALLS)

    repeat = caller(store, "grab", ids[_REPEAT], "REPEATED")
    over = caller(store, "grab", ids[_LOSER], "SOLD_OUT")
    promotions.expect(over("nobody", "key"), ["SOLD_OUT", ["over", 1], []])
    figures = take_turns(
        {
            _DECR: lambda: per_second(lambda: store.decr(counter), _CALLS),
            _LOSER: side(_LOSER, "SOLD_OUT"),
            _RUN: lambda: per_second(
                lambda: scripts.run(store, "grab", ids[_LOSER], next(customers), "key"), _CALLS
            ),
            _OUT: side(_OUT, "SOLD_OUT"),
            _WINNER: side(_WINNER, "GRANTED"),
            _REPEAT: lambda: per_second(lambda: repeat(_OWNER, "key"), _CALLS),
            **_limited(store, ids[_WINNER]),
        }
    )
    yield compare(figures, _LOSER, "calls/s", against=_DECR, at_least=AT_LEAST)
    yield from (
        compare(figures, name, "calls/s", against=_DECR) for name in (_RUN, _OUT, _WINNER, _REPEAT)
    )
    yield compare(figures, _THROTTLED, "calls/s", against=_WINNER, at_least=_SHED_AT_LEAST)
    yield compare(figures, _WITHIN, "calls/s", against=_WINNER)


def _limited(store: Redis, promotion_id: str) -> dict[str, Callable[[], float]]:
    """Grabs that are charged to a customer's and an address's bucket: refused, and served."""
    customers = promotions.customers()
    served = caller(store, "grab", promotion_id, "GRANTED")
    refused = caller(store, "grab", promotion_id, "THROTTLED")
    shed = ("rate:c:shed", "rate:a:all")
    served("shed", "key", 0, *_SHED, *_WIDE, more=shed)

    def serve() -> object:
        customer = next(customers)
        more = (f"rate:c:{customer}", "rate:a:all")
        return served(customer, "key", 0, *_WIDE, *_WIDE, more=more)

    return {
        _THROTTLED: lambda: per_second(
            lambda: refused("shed", "key", 0, *_SHED, *_WIDE, more=shed), _CALLS
        ),
        _WITHIN: lambda: per_second(serve, _CALLS),
    }


def _pipelined(store: Redis, url: str, counter: str, ids: dict[str, str]) -> Iterator[Row]:
    sha = store.script_load(scripts.source("grab"))
    customers = promotions.customers()
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:

        def side(command: Callable[[], bytes], outcome: bytes | None) -> Callable[[], float]:
            return lambda: pipelined_per_second(
                connection, [command() for _ in range(_PIPELINED)], outcome
            )

        def grab(name: str, outcome: bytes, customer_id: str | None = None) -> Callable[[], float]:
            keys = promotions.keys_of(ids[name])
            head = ("EVALSHA", sha, str(len(keys)), *keys, ids[name])
            return side(lambda: pack(*head, customer_id or next(customers), "key"), outcome)

        def throttled() -> bytes:
            parts = ("rate:c:shed", "rate:a:all")
            keys = [
                *promotions.keys_of(ids[_WINNER]),
                *(scripts.key(ids[_WINNER], p) for p in parts),
            ]
            head = ("EVALSHA", sha, str(len(keys)), *keys, ids[_WINNER], "shed", "key", "0")
            return pack(*head, *map(str, (*_SHED, *_WIDE)))

        figures = take_turns(
            {
                _DECR: side(lambda: pack("DECR", counter), None),
                _LOSER: grab(_LOSER, b"SOLD_OUT"),
                _OUT: grab(_OUT, b"SOLD_OUT"),
                _WINNER: grab(_WINNER, b"GRANTED"),
                _REPEAT: grab(_REPEAT, b"REPEATED", _OWNER),
                _THROTTLED: side(throttled, b"THROTTLED"),
            }
        )
    yield from (
        compare(_named(figures), f"{name}, pipelined", "calls/s", against=f"{_DECR}, pipelined")
        for name in (_LOSER, _OUT, _WINNER, _REPEAT)
    )
    yield compare(
        _named(figures), f"{_THROTTLED}, pipelined", "calls/s", against=f"{_WINNER}, pipelined"
    )


def _named(figures: Figures) -> Figures:
    return {f"{name}, pipelined": values for name, values in figures.items()}
