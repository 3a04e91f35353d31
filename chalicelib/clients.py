"""Clients of the store and of AWS: made once per process, on first use, with short timeouts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, cast

import boto3
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from redis.backoff import NoBackoff
from redis.cluster import PRIMARY, ClusterNode, NodesManager
from redis.retry import Retry

from chalicelib import telemetry
from chalicelib.config import settings

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

# Besides keeping a connection per concurrent call, a pool must not limit: a Lambda makes one
# call at a time, a local worker as many as it has threads.
_ONE_RETRY = 1

# An unreachable cluster raises RedisClusterException, which is not a RedisError.
STORE_ERRORS = (redis.RedisError, redis.exceptions.RedisClusterException)


class _Nodes(NodesManager):
    """Also finds a node that has no slot yet: ASK names it while slots move there.

    redis-py knows only the nodes that have slots, and raises AttributeError at such an ASK.
    """

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        """A node by its address, or by its name, which is `host:port`."""
        known: ClusterNode | None = super().get_node(host, port, node_name)
        if known is not None or node_name is None:
            return known
        host, _, port_text = node_name.rpartition(":")
        node = ClusterNode(host, int(port_text), PRIMARY)  # type: ignore[no-untyped-call]
        self.nodes_cache[node_name] = node
        return node


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
    make: Callable[..., redis.Redis | redis.RedisCluster]
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
    if isinstance(client, redis.RedisCluster):
        client.nodes_manager.__class__ = _Nodes
    return cast("redis.Redis", client)


@contextmanager
def elsewhere(store: redis.Redis) -> Iterator[None]:
    """Around what any node of a cluster may keep: while it is away, the work on others goes on.

    A store of one node that is away raises, as everywhere.
    """
    try:
        yield
    except STORE_ERRORS as error:
        if not isinstance(store, redis.RedisCluster):
            raise
        telemetry.count("store_node_away", reason=str(error))


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
