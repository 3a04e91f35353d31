"""Follow what a stage's functions say: `python -m infra.logs dev --filter '"sweep_failed"'`."""

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from infra import stage
from infra.account import account
from infra.faults import DeployFault, told_in_one_line
from infra.policies import GRANTS, log_group

_POLL_S = 2.0
# A line may reach CloudWatch some seconds after later lines of another function.
_LATE_MS = 30_000
_NOISE = ("START RequestId", "END RequestId", "REPORT RequestId", "INIT_START")


def groups(logs: Any, name: str) -> dict[str, str]:
    """The log groups of a stage's functions, and whose they are."""
    pages = logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix=f"/aws/lambda/seckill-{name}"
    )
    there = {group["logGroupName"] for page in pages for group in page["logGroups"]}
    ours = {log_group(name, function): function for function in GRANTS}
    return {group: function for group, function in ours.items() if group in there}


def lines(logs: Any, name: str, since_ms: int, pattern: str, seen: set[str]) -> Iterator[str]:
    """What was said since `since_ms` and is not in `seen`, oldest first; `seen` grows."""
    found = []
    for group, function in groups(logs, name).items():
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=since_ms, filterPattern=pattern
        )
        found += [(e["timestamp"], function, e) for page in pages for e in page["events"]]
    for at, function, event in sorted(found, key=lambda one: one[:2]):
        text = event["message"].rstrip()
        if event["eventId"] in seen or text.startswith(_NOISE):
            continue
        seen.add(event["eventId"])
        yield f"{datetime.fromtimestamp(at / 1000, UTC):%H:%M:%S.%f} {function} {text}"


def main() -> int:
    """Print the last minutes, then what comes, until Ctrl-C; with --once only the former."""
    parser = argparse.ArgumentParser(prog="python -m infra.logs", description=__doc__)
    parser.add_argument("stage")
    parser.add_argument("--filter", default="", help="a CloudWatch Logs filter pattern")
    parser.add_argument("--minutes", type=float, default=5, help="how far to look back")
    parser.add_argument("--once", action="store_true", help="do not wait for more")
    arguments = parser.parse_args()
    try:
        session = account(stage.read(), arguments.stage)
        since_ms = round((time.time() - arguments.minutes * 60) * 1000)
        seen: set[str] = set()
        while True:
            with told_in_one_line():
                logs = session.client("logs")
                for line in lines(logs, arguments.stage, since_ms, arguments.filter, seen):
                    print(line, flush=True)
            if arguments.once:
                return 0
            since_ms = max(since_ms, round(time.time() * 1000) - _LATE_MS)
            time.sleep(_POLL_S)
    except DeployFault as fault:
        print(f"seckill: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
