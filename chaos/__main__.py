"""`python -m chaos`: see run.py. Ctrl-C ends it at once, whatever it is doing."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

STOPS = (signal.SIGINT, signal.SIGTERM)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """Go: nothing is running yet, and an exception can get lost in the middle of an import."""
    os._exit(128 + number)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    """Leave through every clean-up."""
    print("\nstopping", file=sys.stderr)
    sys.exit(128 + number)


if __name__ == "__main__":
    for stop in STOPS:
        signal.signal(stop, _leave)
    from chaos.run import main  # takes half a second, in which somebody may press Ctrl-C

    for stop in STOPS:
        signal.signal(stop, _stop)
    sys.exit(main())
