"""Child processes that never outlive their parent."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_STOP_WITHIN_S = 2.0
# No start takes so long, also on a machine that is busy with other work.
HUNG_AFTER_S = 120.0


class LocalCloudError(Exception):
    """The local cloud can't start or go on; the message says in one line what to do."""


class Child:
    """A server started by us: its own process group, its output in a log file."""

    def __init__(
        self, name: str, command: Sequence[str | Path], environ: Mapping[str, str], folder: Path
    ) -> None:
        """Start `command`; its output goes to `<folder>/<name>.log`."""
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - the commands are our own
                [str(part) for part in command],
                env=dict(environ),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def check(self) -> None:
        """Raise if the server has ended.

        Raises:
            LocalCloudError: it has.
        """
        code = self.process.poll()
        if code is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            last = lines[-1].strip() if lines else "no output"
            message = f"{self.name} ended with code {code}: {last} (see {self.log})"
            raise LocalCloudError(message)

    def stop(self) -> None:
        """End the server and its whole process group; at once if it does not go by itself."""
        stop_all([self])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server's whole process group."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return  # all gone already, which is what we want


def stop_all(children: Sequence[Child]) -> None:
    """End all `children` together; after a moment, those too that do not go by themselves."""
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_WITHIN_S
    for child in children:
        with suppress(subprocess.TimeoutExpired):  # the kill below is for exactly this
            child.process.wait(max(0.0, deadline - time.monotonic()))
        child.signal(signal.SIGKILL)
        child.process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port() -> int:
    """A port on loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free(port: int) -> None:
    """Raise unless `port` on loopback can be listened on.

    Raises:
        LocalCloudError: it is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"port {port} can't be used ({error.strerror}): choose another with PORT="
            raise LocalCloudError(message) from error


def wait_until(
    ready: Callable[[], bool], what: str, children: Sequence[Child], within_s: float = HUNG_AFTER_S
) -> None:
    """Poll `ready` until it is true, as long as all `children` run.

    Raises:
        LocalCloudError: a child ended, or the time is over.
    """
    deadline = time.monotonic() + within_s
    while not ready():
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            message = f"{what} was not ready within {within_s:.0f} s"
            raise LocalCloudError(message)
        time.sleep(0.05)
