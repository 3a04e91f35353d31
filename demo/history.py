"""The history of a sale as its customers saw it: one attempt, or settlement, per line of a file."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# What a winner may do about a coupon, and hear.
PAID = ("payment", 200, "PAID")
RETURNED = ("return", 200, "RELEASED")
# The money came too late: honest if the refund is on record.
TOO_LATE = ("payment", 409, "HOLD_EXPIRED")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a winner did about a coupon that has to be paid, and the answer.

    did: "payment" or "return". status, code, started_ms, latency_ms: as in an attempt; the code
    of a success is the state that the coupon is in.
    """

    customer_id: str
    coupon_id: str
    did: str
    status: int
    code: str
    started_ms: float
    latency_ms: float

    @property
    def answer(self) -> tuple[str, int, str]:
        """What was done and what was said to it."""
        return self.did, self.status, self.code

    def to_line(self) -> str:
        """The settlement as one line of the file."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


def read_history(path: Path) -> list[Attempt]:
    """Every attempt in a file, in the order of their answers."""
    return [Attempt(**fields) for fields in _lines(path)]


def read_settlements(path: Path) -> list[Settlement]:
    """Every settlement in a file, in the order of their answers."""
    return [Settlement(**fields) for fields in _lines(path)]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
