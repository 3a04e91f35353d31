"""What API Gateway answers by itself, in the form of our own refusals.

A missing token, its own limits, a function that fails: none of it reaches the app. Bodies are made
from the app's table. A body over 10 MB is refused before all this, in AWS's own words.
"""

from typing import Any

from chalicelib.door.answers import EXPOSED, RETRY_AFTER_S, problem

# Status and code of each kind; kinds, and statuses where they differ from ours by nature:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
KINDS: dict[str, tuple[int, str]] = {
    "UNAUTHORIZED": (401, "UNAUTHORIZED"),
    "EXPIRED_TOKEN": (401, "UNAUTHORIZED"),
    "ACCESS_DENIED": (403, "FORBIDDEN"),
    "INVALID_API_KEY": (403, "FORBIDDEN"),
    "INVALID_SIGNATURE": (403, "FORBIDDEN"),
    "WAF_FILTERED": (403, "FORBIDDEN"),
    # Its name for a path or a method that the API does not have.
    "MISSING_AUTHENTICATION_TOKEN": (404, "NOT_FOUND"),
    "RESOURCE_NOT_FOUND": (404, "NOT_FOUND"),
    "BAD_REQUEST_BODY": (400, "INVALID"),
    "BAD_REQUEST_PARAMETERS": (400, "INVALID"),
    "REQUEST_TOO_LARGE": (413, "INVALID"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "UNSUPPORTED_MEDIA_TYPE"),
    "THROTTLED": (429, "THROTTLED"),
    "QUOTA_EXCEEDED": (429, "THROTTLED"),
    "API_CONFIGURATION_ERROR": (500, "INTERNAL_ERROR"),
    "AUTHORIZER_CONFIGURATION_ERROR": (500, "INTERNAL_ERROR"),
    "AUTHORIZER_FAILURE": (500, "INTERNAL_ERROR"),
    "INTEGRATION_FAILURE": (504, "INTERNAL_ERROR"),
    "INTEGRATION_TIMEOUT": (504, "INTERNAL_ERROR"),
    "DEFAULT_4XX": (400, "INVALID"),
    "DEFAULT_5XX": (500, "INTERNAL_ERROR"),
}
_COME_BACK = (429, 503, 504)


def answer(kind: str, cors_origin: str = "") -> dict[str, Any]:
    """The answer of one kind, as PutGatewayResponse takes it, without the API's id.

    cors_origin: whose pages browsers let read it; empty for nobody's.
    """
    status, code = KINDS[kind]
    retry_after_s = RETRY_AFTER_S if status in _COME_BACK else None
    ours = problem(code, retry_after_s, status=status)
    headers = {**ours.headers, "X-Content-Type-Options": "nosniff"}
    if cors_origin:
        headers["Access-Control-Allow-Origin"] = cors_origin
        headers["Access-Control-Expose-Headers"] = ",".join(EXPOSED)
    parameters = {name: f"'{value}'" for name, value in headers.items()}  # quoted: as it stands
    parameters["X-Request-Id"] = "context.requestId"
    told = {
        "responseType": kind,
        "responseParameters": {f"gatewayresponse.header.{n}": v for n, v in parameters.items()},
        # What it looks for whatever the client accepts; the header above says what it is.
        "responseTemplates": {"application/json": ours.body},
    }
    # A status of a default would become that of every kind without one of its own, also of 502.
    return told if kind.startswith("DEFAULT_") else {**told, "statusCode": str(status)}
