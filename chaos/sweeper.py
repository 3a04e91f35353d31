"""The sweep every second or so instead of every minute: a chaos run is short.

Run as `python -m chaos.sweeper`.
"""

import sys
import time

from botocore.exceptions import BotoCoreError, ClientError
from chalice.local import LambdaContext
from pynamodb.exceptions import PynamoDBException
from redis import RedisError

from app import on_sweep
from localstack.lambdas import scheduled_event

PERIOD_S = 1.5


def main() -> None:
    """Sweep until the process is ended; a dependency that is away costs one turn."""
    print("sweeping", flush=True)
    while True:
        context = LambdaContext("sweep", 512, max_runtime_ms=60_000)
        try:
            on_sweep(scheduled_event("sweep"), context)
        except (RedisError, PynamoDBException, BotoCoreError, ClientError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    main()
