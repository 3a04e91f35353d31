"""What the front door costs: a grab's handler with it, against the same handler without.

With: the claims that API Gateway passes are read and compared, the body is read by its model, both
limits are charged. Without: the body is taken as it is and nobody is asked who they are. Both are
Chalice handlers that are called as Lambda calls them, and both ask the store; the promotion is out
of stock, which is what most of a crowd meets while a sale is on.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, cast

from chalice.app import Chalice, Request, Response
from chalice.config import Config
from chalice.local import LambdaContext, LocalGateway

import app as entry_points
from bench import promotions
from bench.calls import one_core
from bench.rows import InvalidMeasurement, Row, compare, per_second, take_turns
from chalicelib import clients, config
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.door import answers
from chalicelib.wiring import outside
from localstack.cloud import LocalCloud

AT_LEAST = 0.8  # of the speed without: at most 25 % more time
_CALLS = 400
_WITH = "grab's handler, with the front door"
_WITHOUT = "grab's handler, without"
_CLOUD = {"AUTH": "cognito", "USER_POOL_ARN": "of a pool"}
# Wide enough that nobody is refused, and both buckets are charged all the same.
_LIMITS = {"CUSTOMER_RATE": "10000", "CUSTOMER_BURST": "100000",
           "ADDRESS_RATE": "10000", "ADDRESS_BURST": "100000"}  # fmt: skip

bare = Chalice(app_name="bare")


@bare.route("/command/coupons", methods=["POST"])
def post_coupon() -> Response:
    """The command and its answer, and nothing around them."""
    asked = cast("Request", bare.current_request)
    wish = json.loads(asked.raw_body)
    grab = grab_coupon(GrabCoupon(wish["promotionId"], wish["customerId"]), outside())
    answer = answers.grabbed(grab)
    return Response(answer.body, headers=dict(answer.headers), status_code=answer.status)


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Handler calls per second."""
    store = clients.store()
    sale = promotions.sell_out(store, hold_seconds=promotions.HOLD_S)
    sides = {
        _WITH: _side(
            entry_points.app, sale, {"AUTH": "cognito", "USER_POOL_ARN": "any", **_LIMITS}
        ),
        _WITHOUT: _side(bare, sale, {"AUTH": "open"}),
    }
    with one_core(cloud):
        figures = take_turns(sides)
    store.delete(*promotions.keys_of(sale))
    yield compare(figures, _WITH, "calls/s", against=_WITHOUT, at_least=AT_LEAST)


def _side(app: Chalice, sale: str, settings: Mapping[str, str]) -> Callable[[], float]:
    headers = {"content-type": "application/json"}
    body = json.dumps({"promotionId": sale, "customerId": "carol"}).encode()
    gateway = LocalGateway(app, Config())
    convert: Any = gateway.event_converter
    event = convert.create_lambda_event("POST", "/command/coupons", headers, body)
    event["requestContext"] |= {"authorizer": {"claims": {"sub": "carol"}}, "requestId": "one"}
    context = LambdaContext("api_handler", 1024, max_runtime_ms=10_000)

    def call() -> None:
        answer = app(event, context)
        if "SOLD_OUT" not in answer["body"]:
            message = f"expected SOLD_OUT and not {answer['statusCode']}: {answer['body'][:200]}"
            raise InvalidMeasurement(message)

    def measured() -> float:
        # The lines that each call logs: written, and shown to nobody.
        with (
            _settings(settings),
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            redirect_stdout(nowhere),
        ):
            return per_second(call, _CALLS)

    return measured


@contextmanager
def _settings(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(wanted)
    config.settings.cache_clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        config.settings.cache_clear()
