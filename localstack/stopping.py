"""Programs that take a while: Ctrl-C ends them at once, whatever they are doing, and cleans up."""

import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import NoReturn

_STOPS = (signal.SIGINT, signal.SIGTERM)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """Go: nothing is running yet, and an exception can get lost in the middle of an import."""
    os._exit(128 + number)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    """Leave through every clean-up."""
    print("\nstopping", file=sys.stderr)
    sys.exit(128 + number)


def run_main_of(module: str) -> NoReturn:
    """Run `main` of `module` and exit with what it returns; 130 or 143 when it was stopped.

    The module is imported here, because that takes half a second, in which somebody may press
    Ctrl-C.
    """
    for stop in _STOPS:
        signal.signal(stop, _leave)
    main = import_module(module).main
    for stop in _STOPS:
        signal.signal(stop, _stop)
    sys.exit(main())
