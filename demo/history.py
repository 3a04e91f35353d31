"""The history of a sale as its customers saw it: one attempt per line of a file."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One customer's grab, and the answer.

    status: the HTTP status, 0 where no answer came. code: the problem's code, or the state of
    the coupon that was granted, or what kept the answer from coming.
    coupon_id, number: what the answer promised; empty and 0 where it promised nothing.
    started_ms: epoch ms. latency_ms: until the answer was there.
    visible_ms: from the answer until the coupon could be read back; None where it never could,
    or where there was none to read.
    """

    customer_id: str
    status: int
    code: str
    coupon_id: str = ""
    number: int = 0
    started_ms: float
    latency_ms: float
    visible_ms: float | None = None

    @property
    def granted(self) -> bool:
        """True when the answer promised a coupon: 201, or 202 where its event still waits."""
        return self.status in (201, 202)

    def to_line(self) -> str:
        """The attempt as one line of the file."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


def read_history(path: Path) -> list[Attempt]:
    """Every attempt in a file, in the order of their answers."""
    with path.open(encoding="utf-8") as lines:
        return _attempts(lines)


def _attempts(lines: Iterable[str]) -> list[Attempt]:
    return [Attempt(**json.loads(line)) for line in lines]
