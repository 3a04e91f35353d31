"""Cold start: importing app.py in a fresh process, against importing boto3 alone."""

import subprocess
import sys
from collections.abc import Callable, Iterator

from bench.rows import InvalidMeasurement, Row, compare, take_turns
from localstack.cloud import ROOT, LocalCloud

_ROUNDS = 5
_APP = "import app"
_CLIENTS = "import app and make the store's and the broker's client"
_BOTO3 = "import boto3"
_TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def rows(cloud: LocalCloud) -> Iterator[Row]:
    """Milliseconds until a fresh process can take its first request."""

    def side(code: str) -> Callable[[], float]:
        return lambda: _import_ms(code, dict(cloud.environ))

    sides = {
        _BOTO3: side("import boto3"),
        _APP: side("import app"),
        _CLIENTS: side("import app; app.outside()"),
    }
    figures = take_turns(sides, _ROUNDS)
    yield compare(figures, _APP, "ms", against=_BOTO3)
    yield compare(figures, _CLIENTS, "ms", against=_BOTO3)


def _import_ms(code: str, environ: dict[str, str]) -> float:
    command = [sys.executable, "-c", _TIMED.format(code)]
    done = subprocess.run(  # noqa: S603 - our own code
        command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        message = f"`{code}` failed: {done.stderr.strip().splitlines()[-1]}"
        raise InvalidMeasurement(message)
    return float(done.stdout) * 1000
