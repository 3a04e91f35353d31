"""How throttling shows in HTTP: the fields of draft-ietf-httpapi-ratelimit-headers-09.

`RateLimit-Policy: "customer";q=10;w=5` says what the limit is: 10 calls, all of them back after 5
seconds of silence. `RateLimit: "customer";r=3;t=4` says how this caller stands: 3 calls left, and
all of them in 4 seconds. When exactly the next one is served is in `Retry-After`, with a 429.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from chalicelib.commands.throttle import Rate
from chalicelib.door.answers import Answer


def with_rates(answer: Answer, rates: Sequence[Rate]) -> Answer:
    """The answer, and how its caller stands; as it is where nothing is throttled."""
    if not rates:
        return answer
    policies = ", ".join(
        f'"{rate.policy}";q={rate.limit.burst};w={_seconds_to_fill(rate)}' for rate in rates
    )
    standing = ", ".join(
        f'"{rate.policy}";r={rate.left};t={math.ceil(rate.full_in_ms / 1000)}' for rate in rates
    )
    fields = {"RateLimit-Policy": policies, "RateLimit": standing}
    return replace(answer, headers={**answer.headers, **fields})


def _seconds_to_fill(rate: Rate) -> int:
    return math.ceil(rate.limit.burst / rate.limit.per_second)
