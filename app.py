"""Every entry point of the system: routes, queue consumers, schedules. No logic."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import wraps
from typing import Any, cast

from chalice.app import (
    Chalice,
    CloudWatchEvent,
    CognitoUserPoolAuthorizer,
    CORSConfig,
    Rate,
    Request,
    Response,
    SQSEvent,
)

from chalicelib import clients, health, queues, telemetry, timers
from chalicelib.commands.admit import admit_customer
from chalicelib.commands.create_promotion import CreatePromotion, create_promotion
from chalicelib.commands.edit_promotion import (
    EditPromotion,
    RestockPromotion,
    cancel_promotion,
    edit_promotion,
    restock_promotion,
)
from chalicelib.commands.grab import grab_coupon
from chalicelib.commands.offer import Offer
from chalicelib.commands.pay import give_back_coupon, pay_coupon
from chalicelib.commands.promotions import all_ids, live_ids
from chalicelib.commands.reconcile import audit, reconcile
from chalicelib.commands.reconcile import to_json as differences_as_json
from chalicelib.commands.recover import recover_promotion
from chalicelib.commands.standing import promotions_page
from chalicelib.commands.sweep import sweep
from chalicelib.commands.wake import wake_promotion
from chalicelib.commands.write_item import create_item, edit_item
from chalicelib.config import settings
from chalicelib.door import answers, docs_page, identity, models, openapi, validation
from chalicelib.door.answers import Answer
from chalicelib.door.for_customers import admitted, grabbed, settled
from chalicelib.door.for_operators import (
    audited,
    changed,
    created,
    each_promotion,
    show_row,
    shown,
)
from chalicelib.door.identity import Caller
from chalicelib.door.models import Field, Model
from chalicelib.door.operations import OPERATIONS
from chalicelib.door.outages import honestly
from chalicelib.items import find_item
from chalicelib.projections import active_promotions, batch, coupons, journal
from chalicelib.projections.rebuild import PROJECTIONS, rebuild
from chalicelib.queries.coupons import coupons_of, coupons_of_promotion
from chalicelib.queries.promotions import active_promotion
from chalicelib.queries.promotions import active_promotions as promotions_on_sale
from chalicelib.wiring import outside, read_tables, repair

app = Chalice(app_name="seckill")

BATCH = 10
# Batches of a queue that are worked on at once. More would take environments from those who grab;
# a table's partition takes 1,000 writes a second, which is ten batches of ten at 10 ms a write.
BATCHES_AT_ONCE = 10


def user_pool() -> CognitoUserPoolAuthorizer | None:
    """What API Gateway checks tokens with, where the stage has a user pool."""
    if settings().auth != "cognito":
        return None
    return CognitoUserPoolAuthorizer("customers", provider_arns=[settings().user_pool_arn])


def cors() -> CORSConfig | None:
    """Which pages browsers may call from."""
    if not settings().cors_origin:
        return None
    return CORSConfig(
        allow_origin=settings().cors_origin,
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
        expose_headers=answers.EXPOSED,
        max_age=600,
    )


AUTHORIZER, CORS = user_pool(), cors()


def route(path: str, method: str = "GET") -> Callable[[Callable[..., Answer]], Callable[..., Any]]:
    """Register a view that returns an Answer; the rest is looked up with the operation.

    A customer's view is told who is asking, as `asking`.
    """
    operation = OPERATIONS[f"{method} {path}"]
    who = operation.who
    # With an empty list Chalice compares nothing: the type of a body that nobody reads is no fault.
    content_types = ["application/json"] if operation.body else []

    def register(view: Callable[..., Answer]) -> Callable[..., Any]:
        @wraps(view)
        def respond(**path_parameters: str) -> Response:
            def answer_those_who_may() -> Answer:
                if who == "anyone":
                    return view(**path_parameters)
                asking = identity.caller(request().context, request().headers)
                if who == "customer":
                    return view(asking=asking, **path_parameters)
                identity.require_operator(asking)
                return view(**path_parameters)

            answer = honestly(answer_those_who_may)
            return Response(answer.body, headers=dict(answer.headers), status_code=answer.status)

        authorizer = None if who == "anyone" else AUTHORIZER
        register_view = app.route(
            path, methods=[method], authorizer=authorizer, cors=CORS, content_types=content_types
        )
        routed: Callable[..., Any] = register_view(respond)
        return routed

    return register


def request() -> Request:
    """The request being answered."""
    return cast("Request", app.current_request)


def body() -> dict[str, Any]:
    """The JSON object in the request's body."""
    return validation.parse_body(request().raw_body)


def own_body(asking: Caller) -> dict[str, Any]:
    """The same of a customer's command: with the customer, who can't be another one."""
    return identity.own(asking, body())


def in_path(field: Field, value: str) -> Callable[[], str]:
    """Reads an id of the path."""
    return lambda: validation.path_id(field, value)


def in_query(model: Model) -> Callable[[], dict[str, Any]]:
    """Reads the query string."""
    return lambda: validation.query_from(model, query())


def query() -> dict[str, list[str]]:
    """The query string's parameters, each with all its values."""
    given = request().query_params
    return {} if given is None else {name: given.getlist(name) for name in given}


def key_in_header() -> str | None:
    """The request's Idempotency-Key."""
    return validation.key_from(request().headers)


def offer_in_body() -> Offer:
    """The promotion that an operator describes."""
    return validation.offer_from(body(), clients.store_clock_ms())


def source_ip() -> str:
    """The address the request came from, as API Gateway saw it: no header can claim another."""
    return str(request().context["identity"]["sourceIp"])


def records(event: SQSEvent) -> list[Mapping[str, Any]]:
    """The messages of a batch, as SQS made them."""
    found: list[Mapping[str, Any]] = event.to_dict()["Records"]
    return found


@app.middleware("http")
def around_every_answer(event: Request, get_response: Callable[..., Response]) -> Response:
    """Log the request's id, and give the framework's own refusals the form of all others."""
    request_id = answers.request_id(event.headers, event.context)
    telemetry.REQUEST.set(request_id)
    response = get_response(event)
    code = answers.FRAMEWORK_CODES.get(response.status_code)
    if code is not None and isinstance(response.body, dict):
        answer = answers.problem(code)
        headers = {**response.headers, **answer.headers}
        response = Response(answer.body, headers=headers, status_code=answer.status)
    response.headers |= answers.on_every_answer(request_id)
    return response


# --- admin ----------------------------------------------------------------------------------


@route("/admin/promotions", "POST")
def post_promotion() -> Answer:
    """Create a promotion."""
    key, offer = validation.together(key_in_header, offer_in_body)
    return created(create_promotion(CreatePromotion(offer, key), outside()))


@route("/admin/promotions/{promotion_id}", "PUT")
def put_promotion(promotion_id: str) -> Answer:
    """Edit a promotion until it has started."""
    promotion_id, offer = validation.together(
        in_path(models.PROMOTION_ID, promotion_id), offer_in_body
    )
    return changed(
        promotion_id, lambda: edit_promotion(EditPromotion(promotion_id, offer), outside())
    )


@route("/admin/promotions/{promotion_id}/stock", "POST")
def post_stock(promotion_id: str) -> Answer:
    """Add units, also during the sale."""
    promotion_id, key, add = validation.together(
        in_path(models.PROMOTION_ID, promotion_id),
        key_in_header,
        lambda: validation.restock_from(body()),
    )
    return changed(
        promotion_id, lambda: restock_promotion(RestockPromotion(promotion_id, add, key), outside())
    )


@route("/admin/promotions/{promotion_id}", "DELETE")
def delete_promotion(promotion_id: str) -> Answer:
    """Cancel a promotion; a live sale stops at once."""
    promotion_id = validation.path_id(models.PROMOTION_ID, promotion_id)
    return changed(promotion_id, lambda: cancel_promotion(promotion_id, outside()), cancelled=True)


@route("/admin/promotions")
def list_promotions() -> Answer:
    """All promotions, in every state."""
    page = in_query(models.PAGE_BY_ID)()
    rows, more = promotions_page(page["after"], page["limit"])
    return answers.page(shown(rows), more, page["limit"])


@route("/admin/promotions/{promotion_id}")
def show_promotion(promotion_id: str) -> Answer:
    """One promotion, in any state."""
    return show_row(validation.path_id(models.PROMOTION_ID, promotion_id))


@route("/admin/items", "POST")
def post_item() -> Answer:
    """Create an item."""
    return answers.ok(create_item(validation.item_from(body())).to_json(), 201)


@route("/admin/items/{item_id}", "PUT")
def put_item(item_id: str) -> Answer:
    """Edit an item."""
    item_id, written = validation.together(
        in_path(models.ITEM_ID, item_id), lambda: validation.item_from(body())
    )
    item = edit_item(item_id, written)
    return answers.ok(item.to_json()) if item else answers.problem("UNKNOWN_ITEM")


@route("/admin/promotions/{promotion_id}/recovery", "POST")
def post_recovery(promotion_id: str) -> Answer:
    """Recover a promotion from the journal, if its state in the store is lost or stale."""
    promotion_id = validation.path_id(models.PROMOTION_ID, promotion_id)
    recovery = recover_promotion(promotion_id, outside(), repair())
    if recovery.outcome == "UNKNOWN_PROMOTION":
        return answers.problem(recovery.outcome)
    return answers.ok(asdict(recovery), 202 if recovery.outcome == "WAITING" else 200)


@route("/admin/promotions/{promotion_id}/coupons")
def list_coupons(promotion_id: str) -> Answer:
    """A promotion's coupons of one state, for instance REVOKED or REFUND_DUE."""
    promotion_id, asked = validation.together(
        in_path(models.PROMOTION_ID, promotion_id), in_query(models.COUPONS_BY_STATE)
    )
    state = asked["state"]
    page = coupons_of_promotion(promotion_id, asked["after"] or 0, asked["limit"], state)
    also = f"&state={state}" if state else ""
    return answers.page(page.coupons, page.after, asked["limit"], also=also)


@route("/admin/promotions/{promotion_id}/audit")
def get_audit(promotion_id: str) -> Answer:
    """Compare store, outbox, journal and tables of a promotion."""
    promotion_id = validation.path_id(models.PROMOTION_ID, promotion_id)
    return audited(audit(promotion_id, outside(), read_tables))


@route("/admin/promotions/{promotion_id}/audit", "POST")
def post_audit(promotion_id: str) -> Answer:
    """The same, and mend what can be mended."""
    promotion_id = validation.path_id(models.PROMOTION_ID, promotion_id)
    return audited(reconcile(promotion_id, outside(), repair(), read_tables))


@route("/admin/dead-letters")
def get_dead_letters() -> Answer:
    """What could not be processed, by queue."""
    return answers.ok(queues.dead_letters())


@route("/admin/dead-letters/{queue}", "POST")
def post_dead_letters(queue: str) -> Answer:
    """Send the dead letters of a queue on again."""
    if queue not in queues.CONSUMED:
        return answers.problem("NOT_FOUND")
    return answers.ok({"sent": queues.send_on(queue)})


# --- commands -------------------------------------------------------------------------------


@route("/command/coupons", "POST")
def post_coupon(asking: Caller) -> Answer:
    """Grab a coupon."""
    command = validation.grab_from(own_body(asking), request().headers)
    return grabbed(command, lambda: grab_coupon(command, outside(), source_ip()))


@route("/command/tokens", "POST")
def post_token(asking: Caller) -> Answer:
    """Get the token that a grab of some promotions needs."""
    command = validation.admit_from(own_body(asking))
    return admitted(command, lambda: admit_customer(command, outside(), source_ip()))


@route("/command/coupons/{coupon_id}/payment", "POST")
def post_payment(coupon_id: str, asking: Caller) -> Answer:
    """Confirm the payment of a coupon."""
    command = validation.payment_from(coupon_id, own_body(asking))
    return settled(command, lambda: pay_coupon(command, outside()))


@route("/command/coupons/{coupon_id}", "DELETE")
def delete_coupon(coupon_id: str, asking: Caller) -> Answer:
    """Give an unpaid coupon back."""
    source: Mapping[str, Any]
    if request().raw_body:
        _, source = validation.together(in_query(models.CUSTOMER_TOO), body)
    else:
        source = validation.once_each(models.CUSTOMER_TOO, query())
    command = validation.give_back_from(coupon_id, identity.own(asking, source))
    return settled(command, lambda: give_back_coupon(command, outside()))


# --- schedules and timers -------------------------------------------------------------------


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def on_sweep(_: CloudWatchEvent) -> dict[str, Any]:
    """Look after every live promotion, once a minute."""
    return sweep(outside(), repair()).to_json()


# One at a time: a timer may wait for its millisecond, and must not hold up one that is due.
@app.on_sqs_message(
    settings().resource_name("timers"), batch_size=1, maximum_concurrency=20, name="wake"
)
def on_timer_messages(event: SQSEvent) -> None:
    """Touch what is due."""
    batch.each(records(event), lambda body: wake_promotion(timers.parse(body), outside(), repair()))


# --- projections ----------------------------------------------------------------------------


@app.lambda_function(name="recover")
def on_recover(event: dict[str, str], _: Any) -> dict[str, Any]:
    """`chalice invoke --stage dev -n recover`: {"promotionId"}, or {} for every live promotion."""
    return each_promotion(
        event,
        live_ids,
        lambda name: asdict(recover_promotion(name, outside(), repair())),
    )


@app.lambda_function(name="reconcile")
def on_reconcile(event: dict[str, Any], _: Any) -> dict[str, Any]:
    """`chalice invoke --stage dev -n reconcile`: {"promotionId", "repair": true}, both optional."""

    def compare(name: str) -> list[dict[str, str]]:
        if event.get("repair"):
            return differences_as_json(reconcile(name, outside(), repair(), read_tables) or [])
        return differences_as_json(audit(name, outside(), read_tables) or [])

    return each_promotion(event, live_ids, compare)


@app.lambda_function(name="rebuild")
def on_rebuild(event: dict[str, str], _: Any) -> dict[str, Any]:
    """`chalice invoke --stage dev -n rebuild`: {"promotionId", "projection"}, both optional."""
    names = [event["projection"]] if "projection" in event else list(PROJECTIONS)
    return each_promotion(event, all_ids, lambda name: rebuild(name, names))


@app.on_sqs_message(
    settings().resource_name("journal"),
    batch_size=BATCH,
    maximum_concurrency=BATCHES_AT_ONCE,
    name="project_journal",
)
def on_journal_messages(event: SQSEvent) -> None:
    """Journal every event."""
    batch.project(records(event), journal.on_event)


@app.on_sqs_message(
    settings().resource_name("coupons"),
    batch_size=BATCH,
    maximum_concurrency=BATCHES_AT_ONCE,
    name="project_coupons",
)
def on_coupon_messages(event: SQSEvent) -> None:
    """Project who holds what."""
    batch.project(records(event), coupons.on_event)


@app.on_sqs_message(
    settings().resource_name("active-promotions"),
    batch_size=BATCH,
    maximum_batching_window_in_seconds=1,  # rows are shared: the fuller a batch, the fewer writes
    maximum_concurrency=5,
    name="project_active_promotions",
)
def on_active_promotion_messages(event: SQSEvent) -> None:
    """Project what is on sale."""
    batch.project_what_matters(
        records(event), active_promotions.that_matter, active_promotions.on_event
    )


@app.on_sqs_message(
    settings().resource_name("events"),
    batch_size=BATCH,
    maximum_concurrency=BATCHES_AT_ONCE,
    name="project_all",
)
def on_all_messages(event: SQSEvent) -> None:
    """Feed every projection from the one queue of the SQS publisher."""
    batch.project(
        records(event),
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
    promotion = active_promotion(validation.path_id(models.PROMOTION_ID, promotion_id))
    return answers.ok(promotion.to_json()) if promotion else answers.problem("NOT_FOUND")


@route("/query/promotions/{promotion_id}/coupons")
def get_promotion_coupons(promotion_id: str) -> Answer:
    """A promotion's coupons in order of number."""
    promotion_id, asked = validation.together(
        in_path(models.PROMOTION_ID, promotion_id), in_query(models.PAGE_BY_NUMBER)
    )
    page = coupons_of_promotion(promotion_id, asked["after"] or 0, asked["limit"])
    return answers.page(page.coupons, page.after, asked["limit"])


@route("/query/coupons/{customer_id}")
def get_coupons(customer_id: str, asking: Caller) -> Answer:
    """A customer's coupons."""
    customer_id, asked = validation.together(
        in_path(models.CUSTOMER_ID, customer_id), in_query(models.PAGE_BY_ID)
    )
    customer_id = identity.own(asking, {"customerId": customer_id})["customerId"]
    page = coupons_of(customer_id, asked["after"], asked["limit"])
    return answers.page(page.coupons, page.after, asked["limit"])


@route("/query/items/{item_id}")
def get_item(item_id: str) -> Answer:
    """An item."""
    item = find_item(validation.path_id(models.ITEM_ID, item_id))
    return answers.ok(item.to_json()) if item else answers.problem("UNKNOWN_ITEM")


@route("/query/time")
def get_time() -> Answer:
    """The sale's clock, in epoch ms: the store's, which decides when a sale opens."""
    return answers.ok({"now": clients.store_clock_ms()})


@route("/health")
def get_health() -> Answer:
    """Is each dependency there?"""
    checks = health.check()
    return answers.ok(checks, 200 if set(checks.values()) == {"ok"} else 503)


@route("/openapi.json")
def get_openapi() -> Answer:
    """The API, for programs."""
    return answers.ok(openapi.document(), headers=answers.ONE_HOUR)


@route("/docs")
def get_docs() -> Answer:
    """The API, for people."""
    return answers.html(docs_page.page(), docs_page.security_headers())
