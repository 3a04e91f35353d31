"""A grab over HTTP against an empty route: what a grab costs on top of the server.

Those who come too late are measured, because they are the crowd: each request is another
customer of a promotion that is sold out. A route with a single DECR shows which part of the
cost is the round trip to the store, which no grab can do without.
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
_ROUNDS = 7
_SECONDS = 2
_WORKERS = Options().workers
_GRAB = "grab over HTTP, loser"
_EMPTY = "empty route"
_DECR = "route with one DECR"


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Requests per second of losers and of nothing, on the same server and workers."""
    store = clients.store()
    sold_out = promotions.sell_out(store)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = http_command(port, _WORKERS, target="bench.http_server:application")
    server = Child("bench-http", command, cloud.environ, cloud.children[0].log.parent)
    try:
        wait_until(lambda: _code(url, sold_out) != "", "the measured server", [server])
        promotions.expect(_code(url, sold_out), "SOLD_OUT")
        print(f" ({GENERATOR})", end="", flush=True)

        def side(path: str, refused: int) -> Callable[[], float]:
            return lambda: _per_second(Target(url, path, sold_out), refused)

        figures = take_turns(
            {
                _EMPTY: side("/bench/empty", 0),
                _DECR: side("/bench/decr", 0),
                _GRAB: side("/command/coupons", 1),
            },
            _ROUNDS,
        )
        server.check()
    finally:
        server.stop()
    store.delete("bench:decr", *promotions.keys_of(sold_out))
    yield compare(figures, _GRAB, "requests/s", against=_EMPTY, at_least=AT_LEAST)
    yield compare(figures, _GRAB, "requests/s", against=_DECR)
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
