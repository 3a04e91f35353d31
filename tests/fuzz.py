"""Random requests, good and bad, to every operation of the API: `python -m tests.fuzz`.

schemathesis draws them from the OpenAPI document of a running local cloud, and holds every answer
against it: no 5xx, no status, type, header or body that is not described, no bad data that is
taken, and no good data that is refused. With `--auth jwt` requests come with tokens of operators
and customers, or without, and within limits.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import IO

from localstack.cloud import ROOT, LocalCloud, Options, local_cloud
from localstack.processes import LocalCloudError
from localstack.tokens import token

CONFIG = Path(__file__).parent / "schemathesis.toml"
# Of a long run the time is the limit.
_PATIENCE = ("--request-timeout", "30")
MOST_CASES = 100_000
STATUSES = ROOT / ".local" / "fuzz-statuses.json"
# So narrow that many are refused.
LIMITS = {"CUSTOMER_RATE": "1", "CUSTOMER_BURST": "2", "ADDRESS_RATE": "20", "ADDRESS_BURST": "40"}


def fuzz(
    cloud: LocalCloud,
    cases: int,
    seed: int,
    seconds: float | None = None,
    report: IO[str] | None = None,
) -> int:
    """Send up to `cases` requests to each operation, for `seconds` if given.

    Where the cloud asks for tokens, requests have them, and STATUSES tells how many were answered
    how. Returns 0 when every answer was as described; what was not goes into the report, or is
    printed.
    """
    program = str(Path(sys.executable).parent / "schemathesis")
    command = [program, "--config-file", str(CONFIG), "run"]
    limits = ["--max-examples", str(cases), "--seed", str(seed)]
    if seconds is not None:
        limits += ["--max-time", str(round(seconds))]
    done = subprocess.run(  # noqa: S603 - our own command
        [
            *command,
            f"{cloud.url}/openapi.json",
            "--phases",
            "coverage,fuzzing",
            *limits,
            *_PATIENCE,
        ],
        stdout=report,
        env={**os.environ, **(_with_tokens(cloud) if cloud.environ["AUTH"] == "jwt" else {})},
        cwd=ROOT / ".local",
        check=False,
    )
    return done.returncode


def _with_tokens(cloud: LocalCloud) -> dict[str, str]:
    """What fuzz_hooks.py needs: the key, and two promotions on sale."""
    key = cloud.environ["JWT_KEY"]
    sales = [_on_sale(cloud.url, key, admission) for admission in ("open", "token")]
    return {
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.fuzz_hooks",
        "FUZZ_KEY": key,
        "FUZZ_SALES": ",".join(sales),
        "FUZZ_STATUSES": str(STATUSES),
    }


def _on_sale(url: str, key: str, admission: str) -> str:
    offer = {
        "numberOfCoupons": 100_000,
        "discount": 0.5,
        "publishTime": 0,
        "finishTime": "2099-01-01",
        "holdSeconds": 60,
        "admission": admission,
    }
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {token(key, 'boss', admin=True)}",
    }
    request = urllib.request.Request(  # noqa: S310
        f"{url}/admin/promotions", json.dumps(offer).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return str(json.load(answer)["promotionId"])


def main() -> int:
    """Start a local cloud and fuzz it; 1 when an answer was not as described."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.5, help="default %(default)s")
    parser.add_argument("--seed", type=int, help="the same requests again (default: a new one)")
    parser.add_argument("--auth", choices=["open", "jwt"], default="open")
    given = parser.parse_args()
    if given.auth == "jwt":
        os.environ.update(LIMITS)
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    print(f"seckill: {given.minutes:g} min of random requests with seed {seed}", flush=True)
    try:
        with local_cloud(Options(auth=given.auth, folder=ROOT / ".local" / "fuzz")) as cloud:
            return fuzz(cloud, MOST_CASES, seed, given.minutes * 60)
    except LocalCloudError as error:
        print(f"seckill: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
