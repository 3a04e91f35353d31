"""Clients of the store and of AWS: made once per process, on first use, with short timeouts."""

from functools import cache
from typing import TYPE_CHECKING, cast

import boto3
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from redis.backoff import NoBackoff
from redis.retry import Retry

from chalicelib.config import settings

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

# Besides keeping a connection per concurrent call, a pool must not limit: a Lambda makes one
# call at a time, a local worker as many as it has threads.
_ONE_RETRY = 1

# In cluster mode an absent store is told by an exception that is none of redis-py's others.
STORE_ERRORS = (redis.RedisError, redis.exceptions.RedisClusterException)


# An answer that can't be read is told by an exception that is none of botocore's others.
AWS_ERRORS = (BotoCoreError, ClientError, ResponseParserError)


@cache
def store() -> redis.Redis:
    """The store. One retry at most: scripts are idempotent, a customer's patience is not.

    Protocol 2 without driver info spares three commands per connection (HELLO and two
    CLIENT SETINFO). redis-py's own default of ten retries takes seconds to report a refusal.

    A primary that a fail-over has made a replica may keep its connections, and refuses writes on
    them for ever. So its refusal ends the connection, and the next one asks for the name again.
    """
    current = settings()
    make = redis.RedisCluster.from_url if current.redis_cluster else redis.Redis.from_url
    # A cluster's replica says who has the slot now, and redis-py goes there.
    refused = [] if current.redis_cluster else [redis.exceptions.ReadOnlyError]
    client = make(
        current.redis_url,
        decode_responses=True,
        protocol=2,
        driver_info=None,
        socket_timeout=current.store_timeout_s,
        socket_connect_timeout=current.store_timeout_s,
        retry=Retry(NoBackoff(), _ONE_RETRY),
        retry_on_error=refused,
    )
    return cast("redis.Redis", client)


def store_clock_ms() -> int:
    """The store's clock in epoch ms, the only one that decides anything about a sale."""
    seconds, microseconds = store().time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def _broker_config() -> Config:
    timeout = settings().broker_timeout_s
    return Config(
        connect_timeout=timeout,
        read_timeout=timeout,
        retries={"total_max_attempts": 1 + _ONE_RETRY, "mode": "standard"},
        tcp_keepalive=True,
    )


@cache
def sns() -> "SNSClient":
    """The topic's client."""
    return boto3.client("sns", config=_broker_config())


@cache
def sqs() -> "SQSClient":
    """The queues' client."""
    return boto3.client("sqs", config=_broker_config())
