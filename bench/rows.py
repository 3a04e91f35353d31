"""What a measurement yields, and how its sides take turns.

A figure of a shared machine means little; the ratio of two figures taken in turns within one
run means a lot. So every side runs once per round, and what counts is the median over rounds.
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

ROUNDS = 7

Figures = Mapping[str, list[float]]


class InvalidMeasurement(Exception):
    """What was measured is not what should be: a wrong answer; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    ratio: `value` to `against_value`, where the row is measured against something.
    at_least, at_most: the target of the ratio, or of the value where there is no ratio.
    """

    name: str
    value: float
    unit: str
    rounds: int = 1
    against: str | None = None
    against_value: float | None = None
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Whether the target, if there is one, is reached."""
        figure = self.value if self.ratio is None else self.ratio
        low = self.at_least is None or figure >= self.at_least
        return low and (self.at_most is None or figure <= self.at_most)

    def to_json(self) -> dict[str, Any]:
        """The row as JSON types."""
        return {**asdict(self), "met": self.met}


Measurement = Callable[..., Iterator[Row]]


def take_turns(sides: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> Figures:
    """Run every side once per round, each second round backwards; the figures by side.

    A first round warms up and does not count. One dot per round shows progress.
    """
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            figure = sides[name]()
            if turn:
                figures[name].append(figure)
        print(".", end="", flush=True)
    return figures


def compare(
    figures: Figures,
    name: str,
    unit: str,
    *,
    against: str,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    """A row of two sides: medians of both, and the median of the ratios round by round."""
    pairs = zip(figures[name], figures[against], strict=True)
    return Row(
        name=name,
        value=statistics.median(figures[name]),
        unit=unit,
        rounds=len(figures[name]),
        against=against,
        against_value=statistics.median(figures[against]),
        ratio=statistics.median(value / other for value, other in pairs),
        at_least=at_least,
        at_most=at_most,
    )


def per_second(call: Callable[[], object], calls: int) -> float:
    """How often `call` can be made per second, one after the other."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return calls / (time.perf_counter() - start)


def machine() -> dict[str, str]:
    """What the figures were taken on, in short."""
    return {"system": platform.platform(terse=True), "python": platform.python_version()}
