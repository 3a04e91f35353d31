"""Who is asking, and whether they may.

open     nobody says who they are; ids in bodies and paths count. The local stage only.
jwt      tokens signed with a key of this machine, so that every rule can be tried on it.
cognito  API Gateway has checked the token against the user pool; its claims come with the request.

Where there is a token, a customer is the token's subject, and an operator's token has the group
`admin`. The claims are the same for both kinds of token.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jwt

from chalicelib.config import settings
from chalicelib.door.checks import Fault, identifier

Who = Literal["anyone", "customer", "admin"]

ADMIN_GROUP = "admin"
ALGORITHM = "HS256"
ISSUER = "seckill-local"
AUDIENCE = "seckill"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking. customer_id is None where nobody says: whoever a request names counts."""

    customer_id: str | None
    admin: bool


_ANYBODY = Caller(None, admin=True)


class Unauthorized(Exception):
    """There is no token, or it is not valid; the message says which."""


class Forbidden(Exception):
    """The token is valid and not good for this; `faults` names the field, if there is one."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        """What is not theirs."""
        super().__init__(", ".join(faults))
        self.faults = dict(faults)


def caller(context: Mapping[str, Any], headers: Mapping[str, str]) -> Caller:
    """Who sent a request, by API Gateway's `requestContext` or the header Authorization.

    Raises:
        Unauthorized: nobody that can be known.
    """
    auth = settings().auth
    if auth == "open":
        return _ANYBODY
    claims = _verified(headers) if auth == "jwt" else _from_gateway(context)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        message = "the token has no subject"
        raise Unauthorized(message)
    return Caller(subject, ADMIN_GROUP in _groups(claims.get("cognito:groups")))


def require_operator(asking: Caller) -> None:
    """Let only operators in.

    Raises:
        Forbidden: it is not an operator's token.
    """
    if not asking.admin:
        raise Forbidden({"token": f"is not of the group {ADMIN_GROUP}"})


def own(asking: Caller, source: Mapping[str, Any]) -> dict[str, Any]:
    """A command's fields with the customer who sent it; their own id may be left out.

    What can't be an id at all is left as it is: the command's model names the fault.

    Raises:
        Forbidden: it names another customer.
    """
    if asking.customer_id is None:
        return dict(source)
    named = source.get("customerId")
    if named is None:
        return {**source, "customerId": asking.customer_id}
    try:
        theirs = identifier.take(named) == asking.customer_id
    except Fault:
        return dict(source)
    if not theirs:
        raise Forbidden({"customerId": "is another customer's"})
    return dict(source)


def _verified(headers: Mapping[str, str]) -> dict[str, Any]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        message = "a Bearer token is required"
        raise Unauthorized(message)
    try:
        claims = _claims_of(token.strip(), settings().jwt_key)
    except jwt.InvalidTokenError as error:
        message = f"the token is not valid: {error}"
        raise Unauthorized(message) from error
    if claims["exp"] <= time.time():
        message = "the token is not valid: it has expired"
        raise Unauthorized(message)
    return claims


@lru_cache(maxsize=10_000)
def _claims_of(token: str, key: str) -> dict[str, Any]:
    """The claims of a token that is signed by `key`; it may have expired since."""
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[ALGORITHM],
        issuer=ISSUER,
        audience=AUDIENCE,
        options={"require": ["exp", "sub"]},
    )
    return claims


def _from_gateway(context: Mapping[str, Any]) -> dict[str, Any]:
    claims = (context.get("authorizer") or {}).get("claims")
    if not claims:
        message = "the gateway has passed no claims"
        raise Unauthorized(message)
    return dict(claims)


def _groups(claim: Any) -> list[str]:
    """The groups in a claim: a list, or what API Gateway makes of one: "[a b]" or "a,b"."""
    if isinstance(claim, list):
        return [str(group) for group in claim]
    return re.findall(r"[^\s,\[\]]+", claim) if isinstance(claim, str) else []
