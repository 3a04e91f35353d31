"""Settings. The only reader of the environment, and only when first asked."""

import os
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, cast

LOCAL = "local"
_SHORTEST_KEY = 32


class InvalidSetting(ValueError):
    """An environment variable has a value this program can't work with."""


# However it is set, a bucket that nobody draws from is full, and forgotten, within a minute.
_FULL_WITHIN_S = 60
_MOST_PER_SECOND = 10_000
_MOST_BURST = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """How often somebody may ask: `per_second` in the long run, `burst` at once after a pause."""

    per_second: float
    burst: int


_LEAST_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class AdmissionKey:
    """A key that signs admission tokens; never printed."""

    id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between stages. Durations carry their unit in the name.

    watch_s: how long a promotion that is over is still looked after, in case the store goes back to
    a time when it was not. settle_s: after this long, nothing that began before is still running:
    the functions' time limit. auth: see door/identity.py; only the local stage may be open or use a
    key of its own, and not in Lambda. jwt_key: at least 32 characters. cors_origin: a page's origin
    that browsers may call from, "*" for any, empty for none. customer_limit, address_limit: grabs
    (and requests for tokens) of one customer or from one address, in each promotion; None where
    that is off. admission_keys: the first signs admission tokens, all verify them; none where the
    stage gives no tokens. ADMISSION_KEYS is a secret: a deployment fills it from a secrets manager
    or an encrypted parameter, never from a file in the repository. To rotate, put the new key
    behind the old one, then in front of it, and drop the old one a minute later; each step has to
    have reached every process before the next.
    """

    stage: str
    redis_url: str
    redis_cluster: bool
    publisher: Literal["sns", "sqs"]
    topic_arn: str
    events_queue_url: str
    timers_queue_url: str
    store_timeout_s: float
    broker_timeout_s: float
    settle_s: float
    watch_s: float
    aws_endpoint_url: str | None
    auth: Literal["open", "jwt", "cognito"]
    jwt_key: str
    user_pool_arn: str
    cors_origin: str
    customer_limit: Limit | None = None
    address_limit: Limit | None = None
    admission_keys: tuple[AdmissionKey, ...] = ()

    def resource_name(self, name: str) -> str:
        """The name of a table or queue of this stage, as the template gives it."""
        return f"seckill-{self.stage}-{name}"


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return read_settings(os.environ)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from `environ`.

    Raises:
        InvalidSetting: a value is out of its range; the message names the variable.
    """
    stage = environ.get("STAGE", "")
    if not stage:
        message = "STAGE is missing: say which stage this is, for instance STAGE=local; a stage that is packaged has it in .chalice/config.json"  # noqa: E501
        raise InvalidSetting(message)
    publisher = environ.get("PUBLISHER", "sns")
    if publisher not in ("sns", "sqs"):
        message = f"PUBLISHER must be 'sns' or 'sqs', not {publisher!r}"
        raise InvalidSetting(message)
    return Settings(
        stage=stage,
        redis_url=environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
        redis_cluster=environ.get("REDIS_CLUSTER", "false").lower() == "true",
        publisher=cast('Literal["sns", "sqs"]', publisher),
        topic_arn=environ.get("TOPIC_ARN", ""),
        events_queue_url=environ.get("EVENTS_QUEUE_URL", ""),
        timers_queue_url=environ.get("TIMERS_QUEUE_URL", ""),
        store_timeout_s=_seconds(environ, "STORE_TIMEOUT_S", "0.5"),
        broker_timeout_s=_seconds(environ, "BROKER_TIMEOUT_S", "1"),
        settle_s=_seconds(environ, "SETTLE_S", "10"),
        watch_s=_seconds(environ, "WATCH_S", "3600", most=7 * 24 * 3600),
        aws_endpoint_url=environ.get("AWS_ENDPOINT_URL"),
        auth=_auth(stage, environ),
        jwt_key=environ.get("JWT_KEY", ""),
        user_pool_arn=environ.get("USER_POOL_ARN", ""),
        cors_origin=environ.get("CORS_ORIGIN", ""),
        customer_limit=_limit(environ, "CUSTOMER"),
        address_limit=_limit(environ, "ADDRESS"),
        admission_keys=read_admission_keys(environ.get("ADMISSION_KEYS", "")),
    )


def _auth(stage: str, environ: Mapping[str, str]) -> Literal["open", "jwt", "cognito"]:
    """Fails closed: what is not the local stage needs a user pool, and can't be opened."""
    auth = environ.get("AUTH") or ("open" if stage == LOCAL else "cognito")
    if auth not in ("open", "jwt", "cognito"):
        message = f"AUTH must be 'open', 'jwt' or 'cognito', not {auth!r}"
        raise InvalidSetting(message)
    if auth != "cognito" and stage != LOCAL:
        message = f"AUTH={auth} is for the local stage only, and this is {stage!r}"
        raise InvalidSetting(message)
    # Emulators of Lambda say where they are; Lambda itself does not.
    in_lambda = "AWS_LAMBDA_FUNCTION_NAME" in environ and not environ.get("AWS_ENDPOINT_URL")
    if auth != "cognito" and in_lambda:
        message = f"AUTH={auth} is for this machine only, and this is a function in an account"
        raise InvalidSetting(message)
    if auth == "jwt" and len(environ.get("JWT_KEY", "")) < _SHORTEST_KEY:
        message = f"JWT_KEY must have at least {_SHORTEST_KEY} characters where AUTH is jwt"
        raise InvalidSetting(message)
    if auth == "cognito" and not environ.get("USER_POOL_ARN"):
        message = f"USER_POOL_ARN is missing: stage {stage!r} asks for tokens of a user pool, which `make deploy` makes"  # noqa: E501
        raise InvalidSetting(message)
    return cast('Literal["open", "jwt", "cognito"]', auth)


def _seconds(environ: Mapping[str, str], name: str, default: str, most: float = 60) -> float:
    text = environ.get(name, default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= most:
        message = f"{name} must be a number of seconds above 0 and up to {most}, not {text!r}"
        raise InvalidSetting(message)
    return seconds


def _limit(environ: Mapping[str, str], who: str) -> Limit | None:
    """<who>_RATE per second, 0 for no limit, and <who>_BURST at once, by default twice the rate."""
    rate, burst = f"{who}_RATE", f"{who}_BURST"
    try:
        per_second = float(environ.get(rate, "0"))
    except ValueError:
        per_second = -1.0
    if not 0 <= per_second <= _MOST_PER_SECOND:
        message = f"{rate} must be a number from 0 (no limit) to {_MOST_PER_SECOND} per second"
        raise InvalidSetting(message)
    text = environ.get(burst, str(max(1, round(2 * per_second))))
    most = min(_MOST_BURST, int(per_second * _FULL_WITHIN_S)) if per_second else _MOST_BURST
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
        message = f"{burst} must be a whole number from 1 to {most}, not {text!r}"
        raise InvalidSetting(message)
    return Limit(per_second, int(text)) if per_second else None


def read_admission_keys(text: str) -> tuple[AdmissionKey, ...]:
    """The keys in `id:base64key,id:base64key`.

    Raises:
        InvalidSetting: an entry is none; the message holds no part of a key.
    """
    found: dict[str, AdmissionKey] = {}
    for place, entry in enumerate(filter(None, text.split(",")), start=1):
        key_id, _, encoded = entry.strip().partition(":")
        try:
            secret = b64decode(encoded, validate=True)
        except ValueError:
            secret = b""
        known = key_id in found
        if (
            known
            or not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", key_id)
            or len(secret) < _LEAST_KEY_BYTES
        ):
            message = (
                f"ADMISSION_KEYS: entry {place} must be <id>:<base64 of at least "
                f"{_LEAST_KEY_BYTES} bytes>; an id is unique, of 1 to 32 letters, digits, _ or -"
            )
            raise InvalidSetting(message)
        found[key_id] = AdmissionKey(key_id, secret)
    return tuple(found.values())
