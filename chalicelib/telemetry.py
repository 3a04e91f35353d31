"""Structured logs and metrics, as Powertools writes them: one JSON line each, no call to AWS.

A metric's line is its log line too: names and values that are not metrics go along as metadata.
"""

import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

from chalicelib.config import settings

_NAMESPACE = "seckill"
# The id of the HTTP request that is being answered; none elsewhere.
REQUEST: ContextVar[str | None] = ContextVar("request", default=None)


def count(
    metric: str, value: float = 1, *, by: Mapping[str, str] | None = None, **facts: Any
) -> None:
    """Add `value` to `metric` (a count), with dimensions `by`; `facts` are logged beside it."""
    measure(metric, value, MetricUnit.Count, by=by, **facts)


def measure(
    metric: str,
    value: float,
    unit: MetricUnit,
    *,
    by: Mapping[str, str] | None = None,
    **facts: Any,
) -> None:
    """Report one value of `metric`, with dimensions `by`; `facts` are logged beside it."""
    measure_all({metric: (value, unit)}, by=by, **facts)


def measure_all(
    values: Mapping[str, tuple[float, MetricUnit]],
    *,
    by: Mapping[str, str] | None = None,
    **facts: Any,
) -> None:
    """Report a value of each metric, with its unit, in one line; see `measure`."""
    emf = AmazonCloudWatchEMFProvider(
        namespace=_NAMESPACE, service=f"seckill-{settings().stage}", metric_set={}, metadata_set={}
    )
    for metric, (value, unit) in values.items():
        emf.add_metric(name=metric, unit=unit, value=value)
    for name, text in (by or {}).items():
        emf.add_dimension(name=name, value=text)
    request = REQUEST.get()
    for name, fact in (facts if request is None else {**facts, "request": request}).items():
        emf.add_metadata(key=name, value=fact)
    emf.flush_metrics()


def pseudonym(customer_id: str) -> str:
    """A customer in the logs: 12 hexadecimal digits of the SHA-256 of the id."""
    return hashlib.sha256(customer_id.encode()).hexdigest()[:12]
