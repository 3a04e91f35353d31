"""A wrong clock for one process: `time.time` is off by CLOCK_OFF_S seconds.

Python imports this by itself, before anything else, where the folder is on PYTHONPATH.
"""  # noqa: INP001 - no package: it is found by its name

import os
import time

_OFF_S = int(os.environ["CLOCK_OFF_S"])
_true_time, _true_time_ns = time.time, time.time_ns
time.time = lambda: _true_time() + _OFF_S
time.time_ns = lambda: _true_time_ns() + _OFF_S * 10**9
