"""Ask a deployed sale over HTTP, as a shop's backend would."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from infra.faults import DeployFault

_ANSWERS_WITHIN_S = 30.0  # a cold function in a new network takes its time


@dataclass(frozen=True, slots=True)
class Sale:
    """A sale at `url`, which ends without a slash; `headers` go with every request."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def signed_in(self, token: str) -> "Sale":
        """The same sale, with a token, which is not shown."""
        return replace(self, headers={**self.headers, "Authorization": f"Bearer {token}"})

    def ask(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
        """(status, JSON) of one request; status 0 where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_ANSWERS_WITHIN_S) as response:  # noqa: S310
                return response.status, _json(response.read())
        except urllib.error.HTTPError as error:
            return error.code, _json(error.read())
        except OSError as error:
            return 0, str(error)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")[:200]


def expect(what: str, got: Any, wanted: Any) -> None:
    """Raise unless `got` is `wanted`.

    Raises:
        DeployFault: it is not; the message shows both.
    """
    if got != wanted:
        message = f"{what}: {got!r}, not {wanted!r}"
        raise DeployFault(message)


def within(what: str, look: Callable[[], Any], wanted: Any, seconds: float = 30.0) -> None:
    """Look until it is as `wanted`: queues bring things when they bring them.

    Raises:
        DeployFault: the time is over; the message shows what was there instead.
    """
    deadline = time.monotonic() + seconds
    while (got := look()) != wanted:
        if time.monotonic() > deadline:
            message = f"{what}: still {got!r} after {seconds:.0f} s, not {wanted!r}"
            raise DeployFault(message)
        time.sleep(0.2)
