"""A grab over HTTP against an empty route: what a grab costs on top of the server.

Those who come too late are measured, because they are the crowd: each request is another
customer. Where the promotion is over, a worker knows that; where it is only out of stock, a unit
may come back, and each asks the store. A route with a single DECR shows what the round trip to
the store costs alone.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from bench import promotions
from bench.load import GENERATOR, Target, load
from bench.rows import Row, compare, take_turns
from chalicelib import clients
from localstack.cloud import LocalCloud, Options, http_command
from localstack.processes import Child, free_port, wait_until

AT_LEAST = 0.5
_ROUNDS = 5
_SECONDS = 2
_WORKERS = Options().workers
_WINNERS = 200
_OVER = "grab over HTTP, loser"
_OUT = "grab over HTTP, out of stock"
_EMPTY = "empty route"
_DECR = "route with one DECR"


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Requests per second of losers and of nothing, on the same server and workers."""
    store = clients.store()
    over = promotions.sell_out(store, _WINNERS)
    out = promotions.sell_out(store, hold_seconds=promotions.HOLD_S)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = http_command(port, _WORKERS, target="bench.http_server:application")
    server = Child("bench-http", command, cloud.environ, cloud.children[0].log.parent)
    try:
        wait_until(lambda: _code(url, over) != "", "the measured server", [server])
        promotions.expect(_code(url, over), "SOLD_OUT")
        promotions.expect(_code(url, out), "SOLD_OUT")
        print(f" ({GENERATOR})", end="", flush=True)

        def side(path: str, promotion_id: str, refused: int) -> Callable[[], float]:
            return lambda: _per_second(Target(url, path, promotion_id), refused)

        figures = take_turns(
            {
                _EMPTY: side("/bench/empty", over, 0),
                _DECR: side("/bench/decr", over, 0),
                _OVER: side("/command/coupons", over, 1),
                _OUT: side("/command/coupons", out, 1),
            },
            _ROUNDS,
        )
        server.check()
    finally:
        server.stop()
    store.delete("bench:decr", *promotions.keys_of(over), *promotions.keys_of(out))
    yield compare(figures, _OVER, "requests/s", against=_EMPTY, at_least=AT_LEAST)
    yield compare(figures, _OUT, "requests/s", against=_EMPTY)
    yield compare(figures, _OUT, "requests/s", against=_DECR)
    yield compare(figures, _DECR, "requests/s", against=_EMPTY)


def _per_second(target: Target, refused: int) -> float:
    done = load(target, _SECONDS)
    promotions.expect(done.refused, done.requests * refused)
    return done.per_second


def _code(url: str, promotion_id: str) -> str:
    """The word a grab is answered with; none as long as nobody answers."""
    body = json.dumps({"promotionId": promotion_id, "customerId": "late"}).encode()
    request = urllib.request.Request(  # noqa: S310
        f"{url}/command/coupons", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return f"status {response.status}"
    except urllib.error.HTTPError as error:
        return str(json.load(error)["code"])
    except OSError:
        return ""
