"""Run a module that is killed at a random statement of a recovery.

Run as `python -m chaos.mortal MODULE`. MORTAL_SEED draws the statements: a few lines of the
recovery's code, and how many times each may be passed. Whichever is reached first ends the process
as kill -9 does; what was killed where goes into the file MORTAL_LOG. Nothing in the program knows
of this.
"""

import functools
import importlib
import json
import os
import random
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from localstack.cloud import ROOT

# So many statements of each module are fatal at a time. A recovery passes most of its first ones
# each time that it has to wait, and the others once.
FATAL = {"recover": 1, "rebuild_state": 3, "stragglers": 1}
FILES = tuple(str(ROOT / "chalicelib" / "commands" / f"{name}.py") for name in FATAL)
# Statements in loops are passed up to so many times.
MOST_PASSES = 3

Statement = tuple[str, int]


def statements_of(path: str) -> list[Statement]:
    """(file, line) of every statement in the functions of a file."""
    module = compile(Path(path).read_text(encoding="utf-8"), path, "exec")
    functions = (code for code in _inner(module) if code.co_flags & 0x02)  # no class bodies
    lines = {
        line
        for code in functions
        for _, _, line in code.co_lines()
        if line is not None and line > code.co_firstlineno
    }
    return [(path, line) for line in sorted(lines)]


def _inner(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inner(constant)


def draw(seed: str) -> dict[Statement, int]:
    """Fatal statements, and which passing of each is fatal: the first, the second, ..."""
    rng = random.Random(seed)
    drawn = [
        statement
        for path, count in zip(FILES, FATAL.values(), strict=True)
        for statement in rng.sample(statements_of(path), count)
    ]
    return {statement: rng.randint(1, MOST_PASSES) for statement in drawn}


class Fate:
    """A trace function that ends the process at a fatal statement."""

    def __init__(self, fatal: dict[Statement, int], log: Path) -> None:
        """At these statements; the death is noted in `log`."""
        self._left = dict(fatal)
        self._files = {path for path, _ in fatal}
        self._log = log
        self._lock = threading.Lock()

    def follow(self, module: ModuleType) -> None:
        """Trace the functions of a module, and nothing else: all else runs as fast as ever."""
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                setattr(module, name, self._traced(value))

    def _traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def traced(*args: Any, **named: Any) -> Any:
            before = sys.gettrace()
            sys.settrace(self)
            try:
                return function(*args, **named)
            finally:
                sys.settrace(before)

        return traced

    def __call__(self, frame: FrameType, *_: Any) -> Any:
        """Follow the lines of the recovery's files only."""
        return self._on_line if frame.f_code.co_filename in self._files else None

    def _on_line(self, frame: FrameType, event: str, _: Any) -> Any:
        statement = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and statement in self._left:
            with self._lock:
                self._left[statement] -= 1
                if self._left[statement] == 0:
                    self._die(statement)
        return self._on_line

    def _die(self, statement: Statement) -> None:
        where = f"{Path(statement[0]).name}:{statement[1]}"
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"at": int(time.time() * 1000), "killed": where}) + "\n")
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Have the recovery's modules traced, then run the module as if it were run by itself."""
    fate = Fate(draw(os.environ["MORTAL_SEED"]), Path(os.environ["MORTAL_LOG"]))
    for name in FATAL:
        fate.follow(importlib.import_module(f"chalicelib.commands.{name}"))
    module = sys.argv[1]
    sys.argv = [module, *sys.argv[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
