"""Requests as a real client sends them, and the history of them: one line each.

A line has: what (grab, pay, give_back, create, restock, cancel), promotion, customer, key (the
Idempotency-Key), number (of the coupon in question), reference (of a payment), started and ended
(epoch ms), status (0: no answer came), code (a problem's, or what kept the answer from coming),
coupon (the one in the answer, or null). A created promotion's line has opens_at and closes_at, a
restock's the units added.
"""

import http.client
import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
TRIES = 7
FIRST_PAUSE_S = 0.15
LONGEST_PAUSE_S = 1.5
# Of those who hear nothing or "later", so many do not come back.
GIVE_UP = 0.08
SERVER_ERROR = 500
OK = 300
# The code of a request that nobody can have seen, because no server listened.
NOT_SENT = "NOT_SENT"


@dataclass(frozen=True, slots=True)
class Command:
    """One request; `facts` go into its line."""

    what: str
    method: str
    path: str
    body: Mapping[str, Any] | None
    promotion: str = ""
    customer: str = "operator"
    key: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; status 0 where nothing did."""

    status: int
    body: Mapping[str, Any]

    @property
    def good(self) -> bool:
        """True for a 2xx."""
        return 0 < self.status < OK

    @property
    def final(self) -> bool:
        """True when asking again makes no sense."""
        return 0 < self.status < SERVER_ERROR


class Client:
    """Sends commands to any of several servers and writes each into the history."""

    def __init__(self, urls: Sequence[str], history: Path, rng: random.Random) -> None:
        """Append to the file `history`."""
        self._hosts = [str(urlsplit(url).netloc) for url in urls]
        self._history = history.open("a", buffering=1, encoding="utf-8")
        self._lock = threading.Lock()
        self._rng = rng

    def send(self, command: Command) -> Answer:
        """Send once."""
        started = round(time.time() * 1000, 3)
        status, body, code = self._exchange(command)
        ended = round(time.time() * 1000, 3)
        coupon = body if "couponId" in body else body.get("coupon")
        line = {
            "what": command.what,
            "promotion": command.promotion or body.get("promotionId", ""),
            "customer": command.customer,
            "key": command.key,
            "started": started,
            "ended": ended,
            "status": status,
            "code": code,
            "coupon": coupon,
            **command.facts,
        }
        with self._lock:
            self._history.write(json.dumps(line, separators=(",", ":")) + "\n")
        return Answer(status, body)

    def insist(self, command: Command, until: float) -> Answer:
        """Send until an answer is final, as the same request; some give up, all at `until`."""
        pause_s = FIRST_PAUSE_S
        for _ in range(TRIES):
            answer = self.send(command)
            if answer.final or time.time() > until:
                break
            if command.customer != "operator" and self._rng.random() < GIVE_UP:
                break
            time.sleep(pause_s * self._rng.uniform(0.5, 1.5))
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        """To any server that listens, as a load balancer would."""
        hosts = self._rng.sample(self._hosts, len(self._hosts))
        for position, host in enumerate(hosts, start=1):
            connection = http.client.HTTPConnection(host, timeout=TIMEOUT_S)
            try:
                connection.connect()
            except ConnectionRefusedError:
                connection.close()
                if position == len(hosts):
                    raise
            else:
                break
        return connection

    def _exchange(self, command: Command) -> tuple[int, Mapping[str, Any], str]:
        headers = {"Content-Type": "application/json"}
        if command.key:
            headers["Idempotency-Key"] = command.key
        body = None if command.body is None else json.dumps(command.body)
        try:
            connection = self._connect()
        except OSError as error:
            return 0, {}, NOT_SENT if isinstance(error, ConnectionRefusedError) else str(error)
        try:
            connection.request(command.method, command.path, body, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, {}, type(error).__name__
        finally:
            connection.close()
        return response.status, answer, str(answer.get("code", ""))


def read_lines(path: Path) -> list[Any]:
    """The lines of JSON in a file; one that is still being written is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
