"""What a crowd's history says in figures: rates, percentiles, answers by outcome."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from demo.history import Attempt, Settlement


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed (nearest rank); 0 for no values."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def figures(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Figures by name; durations in the unit their name ends with.

    `seconds` is from the first grab to the last answer. The visible figures are of the winners:
    from the answer until the coupon could be read back.
    """
    first_ms = min((attempt.started_ms for attempt in attempts), default=0.0)
    last_ms = max((attempt.started_ms + attempt.latency_ms for attempt in attempts), default=0.0)
    seconds = (last_ms - first_ms) / 1000
    latencies = [attempt.latency_ms for attempt in attempts]
    visible = [attempt.visible_ms for attempt in attempts if attempt.visible_ms is not None]
    winning = [a.started_ms + a.latency_ms for a in attempts if a.granted]
    return {
        "seconds": round(seconds, 3),
        "grabs_per_s": round(len(attempts) / seconds, 1) if seconds else 0.0,
        "p50_ms": round(percentile(latencies, 50), 1),
        "p90_ms": round(percentile(latencies, 90), 1),
        "p99_ms": round(percentile(latencies, 99), 1),
        "max_ms": round(percentile(latencies, 100), 1),
        "last_coupon_s": round((max(winning, default=first_ms) - first_ms) / 1000, 3),
        "visible_p50_ms": round(percentile(visible, 50), 1),
        "visible_p99_ms": round(percentile(visible, 99), 1),
        "visible_max_ms": round(percentile(visible, 100), 1),
        "answers": answers(attempts),
    }


def answers(attempts: Sequence[Attempt]) -> dict[str, int]:
    """How many got which answer, those of the lowest status first: "201 GRABBED": 200."""
    counted = Counter((attempt.status, attempt.code) for attempt in attempts)
    return {f"{status} {code}": n for (status, code), n in sorted(counted.items())}


def payment_figures(settlements: Sequence[Settlement]) -> dict[str, Any]:
    """How long payments and returns took, and which got which answer: "payment 200 PAID": 200."""
    latencies = [settlement.latency_ms for settlement in settlements]
    counted = Counter(settlement.answer for settlement in settlements)
    return {
        "payment_p50_ms": round(percentile(latencies, 50), 1),
        "payment_p99_ms": round(percentile(latencies, 99), 1),
        "settlements": {f"{did} {status} {code}": n
                        for (did, status, code), n in sorted(counted.items())},
    }  # fmt: skip
