"""`python -m bench`: measure, print a table, write build/bench.json."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence

from bench import (
    cold_start,
    door,
    holds,
    marks,
    memory,
    over_http,
    payment,
    publish,
    punctuality,
    recovery,
    script,
    sweeping,
)
from bench.load import GENERATOR
from bench.rows import InvalidMeasurement, Measurement, Row, machine
from chalicelib import config
from localstack.cloud import ROOT, Options, local_cloud
from localstack.processes import LocalCloudError

# In this order. The publishers come last: their events keep the consumers busy.
MEASUREMENTS: dict[str, Measurement] = {
    "cold-start": cold_start.rows,
    "punctuality": punctuality.rows,
    "sweep": sweeping.rows,
    "memory": memory.rows,
    "marks": marks.rows,
    "script": script.rows,
    "payment": payment.rows,
    "holds": holds.rows,
    "door": door.rows,
    "recovery": recovery.rows,
    "http": over_http.rows,
    "publish": publish.rows,
}
RESULT = ROOT / "build" / "bench.json"


def main() -> int:
    """Measure; returns the exit code, which says nothing about missed targets."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=list(MEASUREMENTS), action="append", metavar="NAME",
                        help=f"one of {', '.join(MEASUREMENTS)}; may be repeated")  # fmt: skip
    names = parser.parse_args().only or list(MEASUREMENTS)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        measured = measure(names)
    except (LocalCloudError, InvalidMeasurement) as error:
        print(f"\nseckill: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nseckill: stopped, nothing was written", file=sys.stderr)
        return 130
    write(measured)
    print(f"\n{table(measured)}\n\n{RESULT.relative_to(ROOT)} has the figures")
    return 0


def measure(names: Sequence[str]) -> list[Row]:
    """Run the named measurements, one after the other, on one fresh local cloud.

    Raises:
        LocalCloudError: the local cloud can't start.
        InvalidMeasurement: something answered other than expected.
    """
    print("starting the local cloud", flush=True)
    measured: list[Row] = []
    with local_cloud(Options(folder=ROOT / ".local" / "bench")) as cloud:
        os.environ.update(cloud.environ)  # chalicelib's own clients are what is measured
        config.settings.cache_clear()
        for name in names:
            print(f"{name:<12}", end="", flush=True)
            start = time.monotonic()
            measured.extend(MEASUREMENTS[name](cloud))
            print(f" {time.monotonic() - start:.0f} s", flush=True)
            cloud.check()
    return measured


def write(measured: Sequence[Row]) -> None:
    """Write build/bench.json: the rows, and what they were measured on."""
    result = {
        "machine": {**machine(), "cpus": os.cpu_count(), "load": GENERATOR},
        "rows": [row.to_json() for row in measured],
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


def table(measured: Sequence[Row]) -> str:
    """The rows as aligned text."""
    lines = [("", "measured", "", "against", "", "ratio", "target")]
    for row in measured:
        against = "" if row.against_value is None else _figure(row.against_value)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(
            (row.name, _figure(row.value), row.unit, against, row.against or "", ratio, target(row))
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = {1, 3, 5}
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def target(row: Row) -> str:
    """The row's target and whether it is reached; empty where there is none."""
    if row.at_least is None and row.at_most is None:
        return ""
    sign, bound = (">=", row.at_least) if row.at_least is not None else ("<=", row.at_most)
    return f"{sign} {bound:g} {'ok' if row.met else 'MISSED'}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"  # noqa: PLR2004


if __name__ == "__main__":
    sys.exit(main())
