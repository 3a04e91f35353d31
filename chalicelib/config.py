"""Settings. The only reader of the environment, and only when first asked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

LOCAL = "local"
_SHORTEST_KEY = 32


class InvalidSetting(ValueError):
    """An environment variable has a value this program can't work with."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between stages. Durations carry their unit in the name.

    watch_s: how long a promotion that is over is still looked after, in case the store goes back
    to a time when it was not. settle_s: after this long, nothing that began before is still
    running: the functions' time limit. auth: see door/identity.py; only the local stage may be
    open or use a key of its own. jwt_key: at least 32 characters. cors_origin: a page's origin that
    browsers may call from, "*" for any, empty for none.
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
    publisher = environ.get("PUBLISHER", "sns")
    if publisher not in ("sns", "sqs"):
        message = f"PUBLISHER must be 'sns' or 'sqs', not {publisher!r}"
        raise InvalidSetting(message)
    return Settings(
        stage=environ.get("STAGE", LOCAL),
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
        auth=_auth(environ),
        jwt_key=environ.get("JWT_KEY", ""),
        user_pool_arn=environ.get("USER_POOL_ARN", ""),
        cors_origin=environ.get("CORS_ORIGIN", ""),
    )


def _auth(environ: Mapping[str, str]) -> Literal["open", "jwt", "cognito"]:
    """Fails closed: what is not the local stage needs a user pool, and can't be opened."""
    local = environ.get("STAGE", LOCAL) == LOCAL
    auth = environ.get("AUTH") or ("open" if local else "cognito")
    if auth not in ("open", "jwt", "cognito"):
        message = f"AUTH must be 'open', 'jwt' or 'cognito', not {auth!r}"
        raise InvalidSetting(message)
    if auth != "cognito" and not local:
        message = f"AUTH={auth} is for the local stage only, and this is {environ['STAGE']!r}"
        raise InvalidSetting(message)
    if auth == "jwt" and len(environ.get("JWT_KEY", "")) < _SHORTEST_KEY:
        message = f"JWT_KEY must have at least {_SHORTEST_KEY} characters where AUTH is jwt"
        raise InvalidSetting(message)
    if auth == "cognito" and not environ.get("USER_POOL_ARN"):
        message = f"USER_POOL_ARN is missing: stage {environ.get('STAGE', LOCAL)!r} asks for tokens of a user pool, which `make deploy` makes"  # noqa: E501
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
