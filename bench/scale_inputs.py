"""What docs/scaling.md is computed from, and where each input comes from.

Three kinds: what `make bench` measured, what AWS documents as limits and prices, and what is
assumed of a crowd.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CROWDS = (10_000, 1_000_000, 100_000_000)
# The rows of `make bench` that are read: field of Measured -> name of the row.
ROWS = {
    "shard_winners_per_s": "grab script, winner, pipelined",
    "shard_refusals_per_s": "grab script, loser, pipelined",
    "winner_bytes": "a winner, unpaid, customer id of 36: used_memory",
    "told_per_s": "grab over HTTP, loser",
    "asking_per_s": "grab over HTTP, out of stock",
    "cold_start_ms": "import app and make the store's and the broker's client",
    "names_us": "the names of 10,000 winners: the store's time",
    "names_bytes": "the names of 10,000 winners: reply",
    "recovery_s": "recovery of 10,000 events, for 100,000",
}
NAMES_OF = 10_000
RECOVERY_OF = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """From one run of `make bench`: `ROWS` says which row is which field."""

    shard_winners_per_s: float
    shard_refusals_per_s: float
    winner_bytes: float
    told_per_s: float
    asking_per_s: float
    cold_start_ms: float
    names_us: float
    names_bytes: float
    recovery_s: float
    cores: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What is assumed of a crowd and of latencies in one region.

    peak_share: of the first minute's crowd, who comes in its busiest second. headroom: how much of
    the measured rate a shard is trusted with. store_trip_ms, publish_ms: what a function waits for
    the store and for the topic. trace_share: sampled by X-Ray. admitted: customers let through a
    waiting room, for each unit.
    """

    units_per_customer: float = 0.01
    peak_share: float = 1 / 12
    headroom: float = 0.5
    store_trip_ms: float = 1
    publish_ms: float = 15
    consumer_ms: float = 20
    platform_log_bytes: int = 400
    own_log_bytes: int = 397
    answer_bytes: int = 1000
    trace_share: float = 0.05
    sign_in_minutes: int = 60
    admitted: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What AWS grants by default in us-east-1, and what nobody can raise."""

    gateway_per_s: int = 10_000
    gateway_burst: int = 5_000
    environment_per_s: int = 10
    environments: int = 1_000
    environments_per_10_s: int = 1_000
    topic_per_s: int = 30_000
    partition_writes_per_s: int = 1_000
    table_writes_per_s: int = 4_000
    connections: int = 65_000
    sign_ins_per_s: int = 120
    mb_per_vcpu: int = 1769


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """List prices in US dollars, us-east-1, first tier, no free tier. Million: per million."""

    rest_million: float = 3.50
    http_million: float = 1.00
    load_balancer_unit_hour: float = 0.008
    connections_per_unit: int = 25
    container_cpu_hour: float = 0.04048
    container_gb_hour: float = 0.004445
    invocation_million: float = 0.20
    gb_second: float = 0.0000166667
    provisioned_gb_second: float = 0.0000041667
    log_gb: float = 0.50
    trace_million: float = 5.00
    out_gb: float = 0.09
    publish_million: float = 0.50
    queue_million: float = 0.40
    write_million: float = 0.625
    node_hour: float = 0.3496
    endpoint_hour: float = 0.01
    account_month: float = 0.015
    accounts_free: int = 10_000


# 2026-11-21, one machine of two shared cores that had other work at the same time.
MEASURED = Measured(
    shard_winners_per_s=13_472,
    shard_refusals_per_s=63_642,
    winner_bytes=212,
    told_per_s=7_551,
    asking_per_s=2_084,
    cold_start_ms=2_241,
    names_us=625,
    names_bytes=430_000,
    recovery_s=43.1,
)
ASSUMED, LIMITS, PRICES = Assumed(), Limits(), Prices()
API_GB, CONSUMER_GB = 1.0, 0.5  # lambda_memory_size in .chalice/config.json
QUEUES, WRITES = 3, 5  # of a coupon's event; the rows and index entries of a batch of one

_GUIDE = "docs.aws.amazon.com"

# Where each input comes from. "Read" is when a copy was made, not when the page was written.
SOURCES: Mapping[str, str] = {
    "units_per_customer": "assumed; the demo has 0.7 %",
    "peak_share": "assumed: five times the mean of the minute",
    "headroom": "assumed: no TLS, no network and no replica was measured",
    "store_trip_ms": "assumed, the other zone included",
    "publish_ms": "assumed; `make smoke` and the dashboard show it",
    "consumer_ms": "assumed",
    "platform_log_bytes": "assumed: START, END and REPORT",
    "own_log_bytes": "a line of `grabs` (chalicelib/commands/grab.py), counted",
    "answer_bytes": "assumed, headers included",
    "trace_share": f"X-Ray's default rule: {_GUIDE}/xray, xray-console-sampling.html",
    "sign_in_minutes": "tokens are valid for an hour (infra/template.yaml)",
    "admitted": "assumed, for each unit",
    "gateway_per_s": f"{_GUIDE}/apigateway/latest/developerguide/limits.html, copy of 2025",
    "gateway_burst": "a newer copy of the same page; not ours to ask for",
    "environment_per_s": f"{_GUIDE}/lambda, gettingstarted-limits.html, read September 2026",
    "environments": "the same page; new accounts less",
    "environments_per_10_s": "the same page; for each function",
    "topic_per_s": f"{_GUIDE}/general/latest/gr/sns.html; down to 300 in small regions",
    "partition_writes_per_s": f"{_GUIDE}/amazondynamodb, warm-throughput-scenarios.html",
    "table_writes_per_s": "the same page: a new on-demand table, before it is warmed",
    "connections": "AWS Database Blog, May 2025, clients and ElastiCache: a node, and Serverless",
    "sign_ins_per_s": f"{_GUIDE}/cognito, quotas.html: UserAuthentication",
    "mb_per_vcpu": f"{_GUIDE}/lambda/latest/dg/configuration-memory.html",
    "rest_million": f"{_GUIDE}, best-practices-api-gateway-private-apis-integration, April 2025",
    "http_million": "the same page",
    "load_balancer_unit_hour": "cloud-horizons.com, May 2026, quoting AWS",
    "connections_per_unit": "the same page: new connections a second",
    "container_cpu_hour": "Fargate: wring.co, March 2026, quoting AWS",
    "container_gb_hour": "the same page",
    "invocation_million": f"{_GUIDE}/whitepapers, how-aws-pricing-works, lambda.html",
    "gb_second": "the same page; x86",
    "provisioned_gb_second": "wring.co, March 2026, quoting AWS; x86",
    "log_gb": "factualminds.com, June 2026, quoting AWS",
    "trace_million": "aws.amazon.com/xray/pricing, the German copy",
    "out_gb": "apigatewaycost.com, 2026, quoting AWS",
    "publish_million": "factualminds.com, June 2026; delivery to SQS is free",
    "queue_million": "cloudburn.io, March 2026, quoting AWS",
    "write_million": "airbyte.com, July 2025: half of what it was before November 2024",
    "node_hour": "cache.r7g.xlarge, Valkey: Netflix's service-capacity-modeling, September 2026",
    "endpoint_hour": "an interface endpoint in one zone: zacfukuda.com, June 2026",
    "account_month": "Cognito Essentials: aws.amazon.com/cognito/pricing, read September 2026",
    "accounts_free": "the same page",
}  # fmt: skip


def read(path: Path) -> Measured:
    """What `make bench` wrote.

    Raises:
        KeyError: it has not measured one of the rows.
    """
    result = json.loads(path.read_text())
    values = {row["name"]: row["value"] for row in result["rows"]}
    fields = {field: values[name] for field, name in ROWS.items()}
    return Measured(**fields, cores=result["machine"]["cpus"])
