"""How throttling shows in HTTP: the fields of draft-ietf-httpapi-ratelimit-headers-09.

`RateLimit-Policy: "customer";q=10;w=5` says what the limit is: 10 calls, all of them back after 5
seconds of silence. `RateLimit: "customer";r=3;t=4` says how this caller stands: 3 calls left, and
all of them in 4 seconds. When exactly the next one is served is in `Retry-After`, with a 429.
"""

import math
from collections.abc import Sequence
from functools import cache

from chalicelib.commands.throttle import Rate
from chalicelib.door.answers import Answer


def with_rates(answer: Answer, rates: Sequence[Rate]) -> Answer:
    """The answer, and how its caller stands; as it is where nothing is throttled."""
    if not rates:
        return answer
    fields = {
        "RateLimit-Policy": ", ".join(
            [_policy(rate.policy, rate.limit.burst, rate.limit.per_second) for rate in rates]
        ),
        "RateLimit": ", ".join([_standing(rate) for rate in rates]),
    }
    return Answer(answer.status, answer.body, {**answer.headers, **fields})


@cache
def _policy(name: str, burst: int, per_second: float) -> str:
    return f'"{name}";q={burst};w={math.ceil(burst / per_second)}'


def _standing(rate: Rate) -> str:
    return f'"{rate.policy}";r={rate.left};t={math.ceil(rate.full_in_ms / 1000)}'
