"""Every entry point of the system: routes, queue consumers, schedules. No logic."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import redis
from chalice.app import Chalice, CloudWatchEvent, Rate, Request, Response, SQSEvent
from pynamodb.exceptions import PynamoDBException

from chalicelib import answers, clients, health, telemetry, validation
from chalicelib.answers import Answer
from chalicelib.commands.create_promotion import create_promotion
from chalicelib.commands.grab import grab_coupon
from chalicelib.commands.missing import standing_of
from chalicelib.commands.sweep import sweep
from chalicelib.config import settings
from chalicelib.projections import active_promotions, batch, coupons, journal
from chalicelib.publisher import publisher
from chalicelib.queries.coupons import coupon_of, coupons_of, coupons_of_promotion
from chalicelib.queries.promotions import active_promotion
from chalicelib.queries.promotions import active_promotions as promotions_on_sale

app = Chalice(app_name="seckill")

BATCH = 10


def route(path: str, method: str = "GET") -> Callable[[Callable[..., Answer]], Callable[..., Any]]:
    """Register a view that returns an Answer; broken dependencies become honest problems."""

    def register(view: Callable[..., Answer]) -> Callable[..., Any]:
        @wraps(view)
        def respond(**path_parameters: str) -> Response:
            try:
                answer = view(**path_parameters)
            except validation.InvalidInput as error:
                answer = answers.problem("INVALID", errors=error.faults)
            except (redis.ConnectionError, redis.TimeoutError, *answers.STORE_AWAY) as error:
                telemetry.count("store_unavailable", reason=str(error))
                answer = answers.problem("STORE_UNAVAILABLE")
            except redis.RedisError as error:
                telemetry.count("store_error", reason=str(error))
                answer = answers.problem("STORE_ERROR")
            except PynamoDBException as error:
                telemetry.count("table_unavailable", reason=str(error))
                answer = answers.problem("TABLE_UNAVAILABLE")
            return Response(answer.body, headers=dict(answer.headers), status_code=answer.status)

        routed: Callable[..., Any] = app.route(path, methods=[method])(respond)
        return routed

    return register


def request() -> Request:
    """The request being answered."""
    return cast("Request", app.current_request)


@app.middleware("http")
def framework_errors_as_problems(event: Request, get_response: Callable[..., Response]) -> Response:
    """Give the framework's own refusals the form of all others."""
    response = get_response(event)
    code = answers.FRAMEWORK_CODES.get(response.status_code)
    if code is None or not isinstance(response.body, dict):
        return response
    answer = answers.problem(code)
    headers = {**response.headers, **answer.headers}
    return Response(answer.body, headers=headers, status_code=answer.status)


# --- commands -------------------------------------------------------------------------------


@route("/admin/promotions", "POST")
def post_promotion() -> Answer:
    """Create a promotion."""
    body = validation.parse_body(request().raw_body)
    command = validation.create_promotion_from(body, clients.store_clock_ms())
    return answers.created(create_promotion(command, clients.store(), publisher()))


@route("/command/coupons", "POST")
def post_coupon() -> Answer:
    """Grab a coupon."""
    command = validation.grab_from(validation.parse_body(request().raw_body))
    grab = grab_coupon(command, clients.store(), publisher())
    if grab.outcome != "UNKNOWN":
        return answers.grabbed(grab)
    standing = standing_of(command.promotion_id, clients.store())
    held = (
        coupon_of(command.customer_id, command.promotion_id)
        if standing != "UNKNOWN_PROMOTION"
        else None
    )
    return answers.ok(held.to_json()) if held else answers.problem(standing)


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def on_sweep(_: CloudWatchEvent) -> dict[str, Any]:
    """Look after every live promotion, once a minute."""
    return sweep(clients.store(), publisher()).to_json()


# --- projections ----------------------------------------------------------------------------


@app.on_sqs_message(settings().resource_name("journal"), batch_size=BATCH, name="project_journal")
def on_journal_messages(event: SQSEvent) -> None:
    """Journal every event."""
    batch.project(event.to_dict()["Records"], journal.on_event)


@app.on_sqs_message(settings().resource_name("coupons"), batch_size=BATCH, name="project_coupons")
def on_coupon_messages(event: SQSEvent) -> None:
    """Project who holds what."""
    batch.project(event.to_dict()["Records"], coupons.on_event)


@app.on_sqs_message(
    settings().resource_name("active-promotions"),
    batch_size=BATCH,
    name="project_active_promotions",
)
def on_active_promotion_messages(event: SQSEvent) -> None:
    """Project what is on sale."""
    batch.project_what_matters(
        event.to_dict()["Records"], active_promotions.that_matter, active_promotions.on_event
    )


@app.on_sqs_message(settings().resource_name("events"), batch_size=BATCH, name="project_all")
def on_all_messages(event: SQSEvent) -> None:
    """Feed every projection from the one queue of the SQS publisher."""
    batch.project(
        event.to_dict()["Records"],
        journal.on_event,
        coupons.on_event,
        active_promotions.on_event,
    )


# --- queries --------------------------------------------------------------------------------


@route("/query/promotions")
def get_promotions() -> Answer:
    """What is on sale now."""
    shown = [promotion.to_json() for promotion in promotions_on_sale()]
    return answers.ok(shown, headers=answers.ONE_SECOND)


@route("/query/promotions/{promotion_id}")
def get_promotion(promotion_id: str) -> Answer:
    """One promotion on sale."""
    promotion = active_promotion(validation.path_id("promotionId", promotion_id))
    return answers.ok(promotion.to_json()) if promotion else answers.problem("NOT_FOUND")


@route("/query/promotions/{promotion_id}/coupons")
def get_promotion_coupons(promotion_id: str) -> Answer:
    """A promotion's coupons in order of number."""
    promotion_id = validation.path_id("promotionId", promotion_id)
    after, limit = validation.page_from(request().query_params, validation.coupon_number)
    page = coupons_of_promotion(promotion_id, after or 0, limit)
    return answers.page(page.coupons, page.after, limit)


@route("/query/coupons/{customer_id}")
def get_coupons(customer_id: str) -> Answer:
    """A customer's coupons."""
    customer_id = validation.path_id("customerId", customer_id)
    after, limit = validation.page_from(request().query_params, validation.identifier)
    page = coupons_of(customer_id, after, limit)
    return answers.page(page.coupons, page.after, limit)


@route("/query/time")
def get_time() -> Answer:
    """The sale's clock, in epoch ms: the store's, which decides when a sale opens."""
    return answers.ok({"now": clients.store_clock_ms()})


@route("/health")
def get_health() -> Answer:
    """Is each dependency there?"""
    checks = health.check()
    return answers.ok(checks, 200 if set(checks.values()) == {"ok"} else 503)
