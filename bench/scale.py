"""The arithmetic of docs/scaling.md: what a crowd asks of each tier, and what it costs."""

import math

from bench.scale_inputs import (
    API_GB,
    ASSUMED,
    CONSUMER_GB,
    LIMITS,
    NAMES_OF,
    PRICES,
    QUEUES,
    RECOVERY_OF,
    WRITES,
    Measured,
)
from chalicelib.commands.over import MOST_CUSTOMERS

_MILLION = 1_000_000
_GB = 1e9
_MINUTE_S = 60
_HOUR_S = 3600

# --- the crowd ----------------------------------------------------------------------------------


def peak_per_s(customers: int) -> float:
    """Grabs in the busiest second: what to ask of API Gateway."""
    return customers * ASSUMED.peak_share


def winners(customers: int) -> int:
    """Coupons sold, which are all there are."""
    return round(customers * ASSUMED.units_per_customer)


def admitted_per_s(customers: int) -> float:
    """Grabs per second behind a waiting room that spreads whom it admits over a minute."""
    return winners(customers) * ASSUMED.admitted / _MINUTE_S


# --- functions ----------------------------------------------------------------------------------


def environments(per_s: float) -> int:
    """Concurrency to ask for: short calls are limited by their rate, not by their duration."""
    return math.ceil(per_s / LIMITS.environment_per_s)


def scaling_s(per_s: float) -> float:
    """How long Lambda takes to get there from nothing: the first thousand come at once."""
    more = max(0, environments(per_s) - LIMITS.environments_per_10_s)
    return more / LIMITS.environments_per_10_s * 10


def by_default(customers: int) -> float:
    """The share of the crowd that the default quota of API Gateway lets in within the minute."""
    most = LIMITS.gateway_burst + LIMITS.gateway_per_s * _MINUTE_S
    return min(1.0, most / customers)


def billed_ms(measured: Measured, kind: str) -> int:
    """Milliseconds of the API's function for who is `told` from a mark, is `asking`, or `wins`.

    Both cores' time of a request, load generator included, at a function's share of a core; and
    what is waited for.
    """
    per_s = measured.told_per_s if kind == "told" else measured.asking_per_s
    cpu_ms = measured.cores * 1000 / per_s
    trips = {"told": 0, "asking": 2, "wins": 2}[kind]
    waits = trips * ASSUMED.store_trip_ms + (ASSUMED.publish_ms if kind == "wins" else 0)
    return math.ceil(cpu_ms * LIMITS.mb_per_vcpu / (API_GB * 1024) + waits)


# --- the store ----------------------------------------------------------------------------------


def shard_per_s(measured: Measured) -> float:
    """Winners per second that a shard, and so a promotion, is trusted with."""
    return measured.shard_winners_per_s * ASSUMED.headroom


def slices(measured: Measured, per_s: float) -> int:
    """Promotions on shards of their own that the stock has to be split into to keep up."""
    return math.ceil(per_s / shard_per_s(measured))


def sold_out_s(measured: Measured, customers: int) -> float:
    """Seconds until a single promotion is sold out."""
    return winners(customers) / min(peak_per_s(customers), shard_per_s(measured))


def winners_per_s(measured: Measured, customers: int) -> float:
    """Winners in the busiest second of a single promotion: messages to the topic, journal rows."""
    return min(winners(customers), peak_per_s(customers), shard_per_s(measured))


def sign_ins_per_s(customers: int) -> float:
    """Sign-ins per second, as long before the sale as a token is good for."""
    return customers / (ASSUMED.sign_in_minutes * _MINUTE_S)


def asking(customers: int) -> int:
    """Losers who ask the store at worst: one per mark and second, all where there are no marks."""
    losers = customers - winners(customers)
    if winners(customers) > MOST_CUSTOMERS:
        return losers
    return min(losers, environments(peak_per_s(customers)) * _MINUTE_S)


def refusing(measured: Measured, customers: int) -> float:
    """What refusing after the end takes of a shard; above 1 is more than it is trusted with."""
    scripts_per_s = store_calls_per_s_after(customers) / 2
    return scripts_per_s / (measured.shard_refusals_per_s * ASSUMED.headroom)


def store_calls_per_s_after(customers: int) -> float:
    """Calls of the store per second once all is sold: a script and an HLEN for who asks."""
    peak = peak_per_s(customers)
    return 2 * (environments(peak) if winners(customers) <= MOST_CUSTOMERS else peak)


def names_s(measured: Measured, customers: int) -> float:
    """Seconds of the store's one thread for giving every process the names of all winners."""
    if winners(customers) > MOST_CUSTOMERS:
        return 0
    each_us = measured.names_us * winners(customers) / NAMES_OF
    return environments(peak_per_s(customers)) * each_us / _MILLION


def names_gb(measured: Measured, customers: int) -> float:
    """Gigabytes that this sends."""
    if winners(customers) > MOST_CUSTOMERS:
        return 0
    each = measured.names_bytes * winners(customers) / NAMES_OF
    return environments(peak_per_s(customers)) * each / _GB


def journaled_s(customers: int) -> float:
    """Seconds until the journal has all events of a single promotion: it is one partition."""
    return winners(customers) / LIMITS.partition_writes_per_s


def recovered_s(measured: Measured, customers: int) -> float:
    """Seconds to bring a single promotion back to a wiped store, the barrier's wait aside."""
    return winners(customers) * measured.recovery_s / RECOVERY_OF


# --- money --------------------------------------------------------------------------------------


def costs(measured: Measured, customers: int) -> dict[str, float]:
    """Dollars for the grabs of the minute, by what they are spent on."""
    won, ask = winners(customers), asking(customers)
    told = customers - won - ask
    calls = {"told": told, "asking": ask, "wins": won}
    ms: float = sum(number * billed_ms(measured, kind) for kind, number in calls.items())
    ms += environments(peak_per_s(customers)) * measured.cold_start_ms / _share()
    logged = customers * ASSUMED.platform_log_bytes + (ask + won) * ASSUMED.own_log_bytes
    return {
        "API Gateway, REST": customers * PRICES.rest_million / _MILLION,
        "Lambda, invocations": customers * PRICES.invocation_million / _MILLION,
        "Lambda, time": ms / 1000 * API_GB * PRICES.gb_second,
        "logs": logged / _GB * PRICES.log_gb,
        "traces": customers * ASSUMED.trace_share * PRICES.trace_million / _MILLION,
        "data out": customers * ASSUMED.answer_bytes / _GB * PRICES.out_gb,
        "winners: topic, queues, consumers, tables": won * winner_dollars(),
    }


def winner_dollars() -> float:
    """What follows a winner's answer, in the worst case: every batch is one message."""
    consumer_ms = QUEUES * ASSUMED.consumer_ms
    return (
        PRICES.publish_million
        + QUEUES * 2 * PRICES.queue_million
        + QUEUES * PRICES.invocation_million
        + WRITES * PRICES.write_million
    ) / _MILLION + consumer_ms / 1000 * CONSUMER_GB * PRICES.gb_second


def per_million(measured: Measured, customers: int) -> float:
    """Dollars for a million grabs of such a crowd."""
    return sum(costs(measured, customers).values()) * _MILLION / customers


def provisioned_per_hour(per_s: float) -> float:
    """Dollars an hour for environments that are there before the crowd."""
    return environments(per_s) * API_GB * _HOUR_S * PRICES.provisioned_gb_second


def accounts_dollars(customers: int) -> float:
    """Dollars a month, where Cognito holds the accounts."""
    return max(0, customers - PRICES.accounts_free) * PRICES.account_month


def cores(measured: Measured, per_s: float) -> int:
    """Cores of containers that answer so many grabs, all of which ask the store."""
    return math.ceil(per_s / cpu_per_s(measured))


def doors(measured: Measured) -> dict[str, float]:
    """Dollars for a million losers through one door or another, functions or containers behind.

    Behind a load balancer every grab is taken to be a new connection; containers are taken to be
    used to `headroom`.
    """
    ms = billed_ms(measured, "asking") * _MILLION
    function = PRICES.invocation_million + ms / 1000 * API_GB * PRICES.gb_second
    balancer = _MILLION / PRICES.connections_per_unit / _HOUR_S * PRICES.load_balancer_unit_hour
    cpu_hours = _MILLION / cpu_per_s(measured) / _HOUR_S
    container = cpu_hours * (PRICES.container_cpu_hour + 2 * PRICES.container_gb_hour)
    return {
        "REST API and functions, as deployed": PRICES.rest_million + function,
        "HTTP API and functions": PRICES.http_million + function,
        "load balancer and functions": balancer + function,
        "load balancer and containers": balancer + container,
    }


def cpu_per_s(measured: Measured) -> float:
    """Grabs per second that a core of a container is trusted with."""
    return measured.asking_per_s / measured.cores * ASSUMED.headroom


def _share() -> float:
    return API_GB * 1024 / LIMITS.mb_per_vcpu
