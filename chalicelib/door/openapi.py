"""The OpenAPI 3.1 document, made of the operations, the models, and the shapes of answers."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import MISSING, fields
from functools import cache
from typing import Any

from chalicelib import queues
from chalicelib.config import settings
from chalicelib.door import checks
from chalicelib.door.answers import PROBLEMS
from chalicelib.door.models import COUPON_STATES, IDEMPOTENCY_KEY
from chalicelib.door.operations import OPERATIONS, Operation
from chalicelib.shapes import Coupon, Item, Promotion

VERSION = "0.1.0"
_TYPES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "Decimal": {"type": "number"},
    '"Item"': {"$ref": "#/components/schemas/Item"},
    "Item": {"$ref": "#/components/schemas/Item"},
}
_ID: dict[str, Any] = {"type": "string", "pattern": f"^{checks.ID.pattern}$"}
_PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "promotion_id": _ID,
    "customer_id": _ID,
    "item_id": _ID,
    "coupon_id": {"type": "string", "pattern": "^[A-Za-z0-9_.:@+~-]{1,100}-[0-9]{1,15}$"},
    "queue": {"type": "string", "enum": list(queues.CONSUMED)},
}
# Refusals that say when to come again.
_LATER = {"NOT_STARTED", "THROTTLED"} | {code for code in PROBLEMS if PROBLEMS[code][0] == 503}  # noqa: PLR2004
_RETRY_AFTER = {
    "Retry-After": {"schema": {"type": "integer"}, "description": "seconds until it makes sense"}
}


def document() -> dict[str, Any]:
    """The whole document, as it is on this stage: with tokens, or without."""
    return _document(guarded=settings().auth != "open")


@cache
def _document(*, guarded: bool) -> dict[str, Any]:
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for name, operation in OPERATIONS.items():
        method, path = name.split(" ")
        paths[path][method.lower()] = _operation(name, path, operation, guarded=guarded)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "seckill",
            "version": VERSION,
            "summary": "A flash sale: few units, a great price, a crowd at the same second.",
        },
        "paths": dict(paths),
        "components": {"schemas": _schemas(guarded=guarded)},
    }
    if guarded:
        token = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        described["components"]["securitySchemes"] = {"token": token}
    return described


def _operation(name: str, path: str, operation: Operation, *, guarded: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", name).strip("_").lower(),
        "summary": operation.summary,
        "tags": [path.split("/")[1]],
        "responses": {**_answers(operation), **_problems(operation)},
    }
    parameters = list(_parameters(path, operation))
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        described["requestBody"] = {
            "required": not operation.accepts_query,
            "content": {"application/json": {"schema": _ref(operation.body.name)}},
        }
    if guarded and operation.who != "anyone":
        described["security"] = [{"token": []}]
        described["description"] = (
            "Asks for an operator's token, of the group admin."
            if operation.who == "admin"
            else "Asks for a customer's token, who then is the one it is about."
        )
    return described


def _parameters(path: str, operation: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]}
    in_query = list(operation.query.fields) if operation.query else []
    if operation.accepts_query and operation.body:
        in_query += operation.body.fields
    for field in in_query:
        schema = dict(field.check.schema)
        yield {"name": field.name, "in": "query", "description": field.about, "schema": schema}
    if operation.key:
        [key] = IDEMPOTENCY_KEY.fields
        yield {"name": "Idempotency-Key", "in": "header", "description": key.about,
               "schema": _ID}  # fmt: skip


def _answers(operation: Operation) -> dict[str, Any]:
    return {
        str(status): {
            "description": "as asked" if status < min(_REFUSED) else "not all of it is well",
            "content": {operation.media_type: {"schema": _shape(shape)}},
        }
        for status, shape in operation.answers.items()
    }


_REFUSED = range(400, 600)


def _problems(operation: Operation) -> dict[str, Any]:
    """The refusals by status; each names its codes, which programs compare."""
    codes: defaultdict[int, list[str]] = defaultdict(list)
    for code in operation.refusals:
        codes[PROBLEMS[code][0]].append(code)
    described: dict[str, Any] = {}
    for status, of_status in sorted(codes.items()):
        titles = "; ".join(f"{code}: {PROBLEMS[code][1]}" for code in of_status)
        described[str(status)] = {
            "description": titles,
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
        if _LATER & set(of_status):
            described[str(status)]["headers"] = _RETRY_AFTER
    return described


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _shape(name: str) -> dict[str, Any]:
    if name.startswith("["):
        return {"type": "array", "items": _ref(name[1:-1])}
    return _ref(name)


def _schemas(*, guarded: bool) -> dict[str, Any]:
    # A token says who the customer is; without one the request has to.
    known = ("customerId",) if guarded else ()
    models = {op.body.name: op.body for op in OPERATIONS.values() if op.body}
    return {
        "Coupon": _of_shape(Coupon, couponId={"type": "string"}, state={"enum": COUPON_STATES}),
        "Promotion": _of_shape(Promotion),
        "Item": _of_shape(Item),
        "Problem": _object(
            {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "code": {"type": "string", "enum": sorted(PROBLEMS)},
                "detail": {"type": "string"},
                "errors": {"type": "object", "additionalProperties": {"type": "string"}},
                "opensAt": {"type": "integer"},
                "coupon": _ref("Coupon"),
            },
            ("type", "title", "status", "code"),
        ),
        "Recovery": _object(
            {
                "outcome": {"type": "string"},
                "detail": {"type": "string"},
                "replayed": {"type": "integer"},
            }
        ),
        "Difference": _object(
            {name: {"type": "string"} for name in ("kind", "detail", "likelyCause")}
        ),
        "DeadLetters": _object({name: _dead_letters() for name in queues.CONSUMED}),
        "Token": _object({"token": {"type": "string"}, "expiresAt": {"type": "integer"}}),
        "Sent": _object({"sent": {"type": "integer"}}),
        "Time": _object({"now": {"type": "integer"}}),
        "Health": {"type": "object", "additionalProperties": {"type": "string"}},
        "Document": {"type": "object"},
        "Page": {"type": "string"},
        **{name: model.schema(known=known) for name, model in sorted(models.items())},
    }


def _dead_letters() -> dict[str, Any]:
    bodies = {"type": "array", "items": {"type": "string"}}
    return _object({"count": {"type": "integer"}, "bodies": bodies})


def _object(properties: dict[str, Any], required: tuple[str, ...] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }


def _of_shape(shape: type[Coupon | Promotion | Item], **more: Any) -> dict[str, Any]:
    """The schema of a dataclass, by the names and types of its fields."""
    properties: dict[str, Any] = {}
    required = []
    for field in fields(shape):
        name = re.sub(r"_(\w)", lambda match: match[1].upper(), field.name)
        type_ = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "")
        properties[name] = _TYPES[_plain(type_ or str(field.type))]
        if field.default is MISSING:
            required.append(name)
    properties |= {name: {**properties.get(name, {}), **extra} for name, extra in more.items()}
    required += [name for name in more if name not in required]
    return _object(properties, tuple(required))


def _plain(annotation: str) -> str:
    """The type's name in an annotation such as `decimal.Decimal | None`."""
    return annotation.split(" | ", maxsplit=1)[0].rsplit(".", 1)[-1].strip("'\"")
