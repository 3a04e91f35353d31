"""Random requests, good and bad, to every operation of the API: `python -m tests.fuzz`.

schemathesis draws them from the OpenAPI document of a running local cloud, and holds every answer
against it: no 5xx, no status, type, header or body that is not described, no bad data that is
taken, and no good data that is refused.
"""

import argparse
import secrets
import subprocess
import sys
from pathlib import Path

from localstack.cloud import ROOT, Options, local_cloud
from localstack.processes import LocalCloudError

CONFIG = Path(__file__).parent / "schemathesis.toml"
# Of a long run the time is the limit.
MOST_CASES = 100_000


def fuzz(url: str, cases: int, seed: int, seconds: float | None = None) -> int:
    """Send up to `cases` requests to each operation, for `seconds` if given.

    Returns 0 when every answer was as described; what was not is printed.
    """
    command: list[str | Path] = [
        Path(sys.executable).parent / "schemathesis",
        "--config-file",
        CONFIG,
        "run",
    ]
    limits = ["--max-examples", str(cases), "--seed", str(seed)]
    if seconds is not None:
        limits += ["--max-time", str(round(seconds))]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, f"{url}/openapi.json", "--phases", "coverage,fuzzing", *limits],
        cwd=ROOT / ".local",
        check=False,
    )
    return done.returncode


def main() -> int:
    """Start a local cloud and fuzz it; 1 when an answer was not as described."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.5, help="default %(default)s")
    parser.add_argument("--seed", type=int, help="the same requests again (default: a new one)")
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    print(f"seckill: {given.minutes:g} min of random requests with seed {seed}", flush=True)
    try:
        with local_cloud(Options(folder=ROOT / ".local" / "fuzz")) as cloud:
            return fuzz(cloud.url, MOST_CASES, seed, given.minutes * 60)
    except LocalCloudError as error:
        print(f"seckill: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
