"""`python -m localstack`: the local cloud, until SIGINT or SIGTERM."""

import argparse
import os
import signal
import sys
import threading

from localstack.cloud import ROOT, Options, local_cloud
from localstack.processes import LocalCloudError


def main() -> int:
    """Start, say `ready: URL`, and wait; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m localstack", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="HTTP port (default 8000)")
    parser.add_argument("--workers", type=int, default=2, help="HTTP processes (default 2)")
    parser.add_argument("--publisher", choices=["sns", "sqs"], default="sns")
    parser.add_argument("--auth", choices=["open", "jwt"], default="open")
    arguments = parser.parse_args()
    options = Options(
        port=arguments.port,
        workers=arguments.workers,
        publisher=arguments.publisher,
        redis_url=os.environ.get("REDIS_URL"),
        aws_endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
        auth=arguments.auth,
        folder=ROOT / ".local" / f"cloud-{arguments.port}",
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with local_cloud(options) as cloud:
            if options.auth == "open":
                print("open: whoever asks is believed; AUTH=jwt asks for tokens", file=sys.stderr)
            print(f"ready: {cloud.url}", flush=True)
            while not stop.wait(0.2):
                cloud.check()
    except LocalCloudError as error:
        print(f"seckill: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
