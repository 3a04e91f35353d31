"""The calls of a process to the outside: each is counted, and one of them may go wrong.

Between two such calls a process changes nothing that another one can see. So a crash, a pause or a
lost reply at every call covers every point at which a process can be interrupted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from simulate.steps import Fault

T = TypeVar("T")


class Died(BaseException):
    """The process has ended here; nothing of it runs on."""


@dataclass(slots=True)
class Process:
    """One run of a command, with the fault that it will meet.

    deadline: when the function's time is over, on the simulated clock; met: the call at which the
    fault happened.
    """

    fault: Fault | None
    deadline: int
    count: int = 0
    dead: bool = False
    met: str = ""


class Effects:
    """All calls go through here. Processes are nested: one is suspended while others run."""

    def __init__(self, now: Callable[[], int], meanwhile: Callable[[int], None]) -> None:
        """`now` reads the simulated clock; `meanwhile` runs the next steps of the history."""
        self._now = now
        self._meanwhile = meanwhile
        self._processes: list[Process] = []

    def run(self, process: Process, work: Callable[[], T]) -> T:
        """Run `work` as this process.

        Raises:
            Died: its fault has ended it, or its answer was lost.
        """
        self._processes.append(process)
        try:
            result = work()
        finally:
            self._processes.pop()
        if process.dead or (process.fault and process.fault.kind == "dies"):
            process.met = process.met or "after its last call"
            raise Died
        return result

    def call(self, name: str, do: Callable[[], T], error: Callable[[], Exception]) -> T:
        """Make the call `name` to the outside; `error` is what its client raises in an outage.

        Raises:
            Died: the process has ended.
        """
        if not self._processes:
            return do()
        process = self._processes[-1]
        if process.dead:
            raise Died
        process.count += 1
        fault = process.fault
        if fault is None or fault.at != process.count:
            return do()
        process.fault = None
        process.met = f"{name} (call {fault.at})"
        if fault.kind == "dies":
            process.dead = True
            raise Died
        if fault.kind == "fails":
            raise error()
        if fault.kind in ("unheard", "again"):
            do()
            if fault.kind == "unheard":
                raise error()
        self._suspend(process, fault.steps)
        return do()

    def _suspend(self, process: Process, steps: int) -> None:
        """Run the next steps of the history in the meantime.

        Raises:
            Died: the function's time is over.
        """
        suspended, self._processes = self._processes, []
        try:
            self._meanwhile(steps)
        finally:
            self._processes = suspended
        if self._now() >= process.deadline:
            process.dead = True
            raise Died
