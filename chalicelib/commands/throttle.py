"""The buckets of one grab: who is limited how, and what the script says is left.

Only what a crowd presses is throttled. Paying and giving back run scripts of their own, which
have no buckets, so nobody who holds a coupon is shed with the crowd.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from chalicelib.commands.scripts import Reply
from chalicelib.config import Limit, settings

# What one customer of a provider gets: with single addresses, each would have 2^64 buckets.
_IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit, and the part of the promotion that counts against it."""

    policy: str
    part: str
    limit: Limit


@dataclass(frozen=True, slots=True)
class Rate:
    """How one customer or address stands: `left` of `limit.burst` calls, all of them in a while."""

    policy: str
    limit: Limit
    left: int
    full_in_ms: int


def buckets(customer_id: str, address: str) -> list[Bucket]:
    """The buckets that a call of this customer from this address is charged to; none if off."""
    current = settings()
    found = []
    if current.customer_limit:
        found.append(Bucket("customer", f"rate:c:{customer_id}", current.customer_limit))
    if current.address_limit:
        part = f"rate:a:{_network_of(address)}"
        found.append(Bucket("address", part, current.address_limit))
    return found


def limits(charged: Sequence[Bucket]) -> list[int]:
    """The script's arguments for these buckets, see throttle.lua."""
    numbers: list[int] = []
    for bucket in charged:
        numbers += (round(1_000_000 / bucket.limit.per_second), bucket.limit.burst)
    return numbers


def rates(charged: Sequence[Bucket], reply: Reply) -> tuple[Rate, ...]:
    """How each bucket stands after the call; nothing where the script had no promotion."""
    told = iter(reply.detail.get("rates", ()))
    return tuple(
        Rate(bucket.policy, bucket.limit, left, full_in_ms)
        for bucket, left, full_in_ms in zip(charged, told, told, strict=False)
    )


@lru_cache(maxsize=10_000)
def _network_of(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 one; all that is neither is one and the same."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed.packed, _IPV6_PREFIX), strict=False).network_address)
