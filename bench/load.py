"""Load over HTTP: `wrk` where it is installed, else a small loader of our own.

Both keep a few connections busy, each with one request at a time, and send the same requests.
"""

import itertools
import re
import secrets
import selectors
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.rows import InvalidMeasurement

CONNECTIONS = 16
_SCRIPT = Path(__file__).parent / "load.lua"
WRK = shutil.which("wrk")
_RESULT = re.compile(r"^load (\d+) (\d+) (\d+) (\d+)$", re.MULTILINE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_FIRST_REFUSAL = 400

GENERATOR = "wrk" if WRK else "our own loader (wrk is not installed)"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to POST grabs of one promotion, each by a different customer."""

    url: str
    path: str
    promotion_id: str


@dataclass(frozen=True, slots=True)
class Load:
    """What came back. `refused` counts the answers of status 400 and up."""

    requests: int
    refused: int
    per_second: float


def load(target: Target, seconds: int, wrk: str | None = WRK) -> Load:
    """Put load on `target` for so many seconds.

    Raises:
        InvalidMeasurement: connections broke, or nothing came back.
    """
    run = secrets.token_hex(4)
    done = _wrk_load(wrk, target, run, seconds) if wrk else _own_load(target, run, seconds)
    if not done.requests:
        message = f"{target.path} was not answered"
        raise InvalidMeasurement(message)
    return done


def _wrk_load(wrk: str, target: Target, run: str, seconds: int) -> Load:
    command = [
        wrk, "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s",
        "--script", str(_SCRIPT), target.url, "--",
        target.path, target.promotion_id, run,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    found = _RESULT.search(done.stdout)
    if found is None:
        message = f"wrk failed: {(done.stderr or done.stdout).strip()}"
        raise InvalidMeasurement(message)
    requests, refused, errors, microseconds = map(int, found.groups())
    if errors:
        message = f"{errors} of {requests} requests to {target.path} broke"
        raise InvalidMeasurement(message)
    return Load(requests, refused, requests / microseconds * 1e6)


def _own_load(target: Target, run: str, seconds: int) -> Load:
    address = urlsplit(target.url)
    requests = _requests(target, run)
    answered = refused = 0
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(CONNECTIONS):
            server = (address.hostname, address.port or 80)
            connection = stack.enter_context(socket.create_connection(server, timeout=5))
            selector.register(connection, selectors.EVENT_READ, (connection, bytearray()))
            connection.sendall(next(requests))
        start = time.perf_counter()
        while (now := time.perf_counter()) < start + seconds:
            for key, _ in selector.select(timeout=1):
                connection, received = key.data
                status = _status_when_complete(connection, received)
                if status:
                    answered += 1
                    refused += status >= _FIRST_REFUSAL
                    connection.sendall(next(requests))
    return Load(answered, refused, answered / (now - start))


def _status_when_complete(connection: socket.socket, received: bytearray) -> int | None:
    """Receive what is there; the status, and an empty buffer, once an answer is complete."""
    chunk = connection.recv(65536)
    if not chunk:
        message = "the server closed a connection"
        raise InvalidMeasurement(message)
    received += chunk
    head, end, body = bytes(received).partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if not end or length is None or len(body) < int(length[1]):
        return None
    received.clear()
    return int(head[9:12])


def _requests(target: Target, run: str) -> Iterator[bytes]:
    head = f"POST {target.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for number in itertools.count(1):
        body = f'{{"promotionId":"{target.promotion_id}","customerId":"{run}-{number}"}}'
        yield f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
