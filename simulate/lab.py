"""What all histories of a process share: a Valkey server, moto's tables, the program's settings."""

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from moto import mock_aws
from redis import Redis

from chalicelib import config, telemetry, wiring
from chalicelib.commands import scripts
from chalicelib.commands.promotions import PromotionRow
from chalicelib.items import ItemRow
from chalicelib.journal import ConflictRow, EventRow
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from localstack.cloud import store_answers, valkey_command
from localstack.processes import Child, free_port, wait_until
from simulate import tables
from simulate.store import CLOCK, SimulatedStore

TABLES = (PromotionRow, EventRow, ConflictRow, CouponRow, ActivePromotionRow, ItemRow)
ITEM = "item-1"
SETTLE_S = 10
WATCH_S = 3600
# Longer than any history lasts, on its own clock.
_HISTORY_S = 10**7
_ERAS = count(1)
_SETTINGS = {
    "STAGE": "local",
    "SETTLE_S": str(SETTLE_S),
    "WATCH_S": str(WATCH_S),
    "AWS_DEFAULT_REGION": tables.REGION,
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}


@dataclass(slots=True)
class Lab:
    """The real store; and what the running history does at each call to a table, and as clock.

    binary: a client that does not decode. era: counts the histories of this process. tokens: how
    many the history has drawn.
    """

    real: Redis
    binary: Redis
    around: tables.Around = tables.plainly
    now: Callable[[], int] = lambda: 0
    sleep: Callable[[float], None] = lambda _: None
    era: int = 0
    tokens: int = 0
    scripts: dict[str, Any] = field(default_factory=dict)

    def begin_history(self) -> None:
        """What a history has cached or drawn is nothing to the next one."""
        self.era, self.tokens = next(_ERAS), 0

    def at_each_call(self, operation: str, table: str, do: Callable[[], Any]) -> Any:
        """Make a call to a table, as the history that runs wants it."""
        return self.around(operation, table, do)

    def script(self, store: Any, name: str) -> Callable[..., Any]:
        """Stands in for the program's own `scripts.script`: the clock is the history's."""
        if name not in self.scripts:
            self.scripts[name] = self.real.register_script(scripts.source(name, CLOCK))
        script = self.scripts[name]

        def call(keys: list[str], args: list[Any]) -> Any:
            if isinstance(store, SimulatedStore):
                return store.run_script(script, name, keys, args)
            return script(keys=keys, args=args)

        return call


class LabTime:
    """Stands in for the module `time` in the program: the clock is the history's."""

    def __init__(self, lab: Lab) -> None:
        """The clock of the history that runs in `lab`."""
        self._lab = lab

    def __getattr__(self, name: str) -> Any:
        """What does not read the clock, or only measures."""
        return getattr(time, name)

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._lab.now() / 1000

    def time_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self._lab.now() * 1_000_000

    def monotonic(self) -> float:
        """Seconds. They never go back, so what one history has cached is old in the next."""
        return self._lab.era * _HISTORY_S + self._lab.now() / 1000

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self._lab.sleep(seconds)


class LabSecrets:
    """Stands in for the module `secrets` in the program: the same history draws the same tokens."""

    def __init__(self, lab: Lab) -> None:
        """Counts within the history that runs in `lab`."""
        self._lab = lab

    def token_hex(self, size: int) -> str:
        """A token of so many bytes, in hexadecimal digits."""
        self._lab.tokens += 1
        return f"{self._lab.tokens:0{2 * size}x}"

    def token_urlsafe(self, size: int) -> str:
        """A token of text."""
        return self.token_hex(size)


@contextmanager
def open_lab(url: str | None = None) -> Iterator[Lab]:
    """A lab with the store at `url`, or one of its own.

    Raises:
        LocalCloudError: the store does not start.
    """
    with ExitStack() as stack:
        if url is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="simulate-")))
            url = stack.enter_context(_valkey(folder))
        stack.enter_context(_environment({**_SETTINGS, "REDIS_URL": url}))
        stack.enter_context(mock_aws())
        real = stack.enter_context(Redis.from_url(url, decode_responses=True, protocol=2))
        lab = Lab(real, stack.enter_context(Redis.from_url(url)))
        stack.enter_context(tables.directly(lab.at_each_call))
        for table in TABLES:
            table.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
        stack.enter_context(_replaced(scripts, "script", lab.script))
        stack.enter_context(_replaced(telemetry, "measure_all", lambda *_, **__: None))
        for module in _modules_that_import(time):
            stack.enter_context(_replaced(module, "time", LabTime(lab)))
        for module in _modules_that_import(secrets):
            stack.enter_context(_replaced(module, "secrets", LabSecrets(lab)))
        yield lab


def _modules_that_import(wanted: ModuleType) -> list[Any]:
    """The program's modules that use `wanted`; importing `wiring` has loaded them all."""
    package = wiring.__name__.split(".", maxsplit=1)[0]
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(f"{package}.") and getattr(module, wanted.__name__, None) is wanted
    ]


@contextmanager
def _valkey(folder: Path) -> Iterator[str]:
    port = free_port()
    child = Child("valkey", valkey_command(port, folder), os.environ, folder)
    try:
        url = f"redis://127.0.0.1:{port}/0"
        wait_until(lambda: store_answers(url), "valkey", [child])
        yield url
    finally:
        child.stop()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    config.settings.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        config.settings.cache_clear()


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
