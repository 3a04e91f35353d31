"""The store as the program sees it: a real Valkey, behind the simulated clock and faults."""

from collections.abc import Callable
from typing import Any

import redis
from redis import Redis

from simulate.effects import Effects

# The scripts' clock: that of the history, in a key beside the promotion's.
CLOCK = """
local function now_ms()
  return tonumber(redis.call('GET', (string.gsub(KEYS[1], ':promotion$', ':clock'))))
end
"""


def away() -> Exception:
    """What the client raises when the store does not answer."""
    return redis.ConnectionError("the store does not answer")


class SimulatedStore:
    """Passes every command on to `real`, as one call to the outside each."""

    def __init__(self, real: Redis, effects: Effects, now: Callable[[], int]) -> None:
        """`now` reads the simulated clock, in epoch ms."""
        self.real = real
        self.effects = effects
        self.now = now
        self.expiries: dict[str, int] = {}
        self.clocks: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        """A command of the client."""
        command = getattr(self.real, name)

        def call(*args: Any, **more: Any) -> Any:
            return self.effects.call(f"store {name}", lambda: command(*args, **more), away)

        return call

    def time(self) -> tuple[int, int]:
        """TIME, by the simulated clock."""
        return self.effects.call("store time", self._time, away)

    def set(self, name: str, value: Any, **more: Any) -> Any:
        """SET; a time to live counts on the simulated clock."""
        lives_ms = more.pop("px", None) or (more.pop("ex", None) or 0) * 1000

        def do() -> Any:
            done = self.real.set(name, value, **more)
            if done and lives_ms:
                self.expiries[name] = self.now() + lives_ms
            return done

        return self.effects.call("store set", do, away)

    def pipeline(self, **more: Any) -> "SimulatedPipeline":
        """A pipeline: all its commands are one call to the outside."""
        return SimulatedPipeline(self, more)

    def run_script(self, script: Any, name: str, keys: list[str], args: list[Any]) -> Any:
        """Run one of the program's scripts."""
        clock = keys[0].replace(":promotion", ":clock")
        if clock not in self.clocks:
            self.clocks.add(clock)
            self.real.set(clock, self.now())
        return self.effects.call(f"script {name}", lambda: script(keys=keys, args=args), away)

    def tick(self) -> None:
        """Set the scripts' clocks to now, and delete what has lived long enough."""
        for clock in self.clocks:
            self.real.set(clock, self.now())
        for name in [name for name, due in self.expiries.items() if due <= self.now()]:
            del self.expiries[name]
            self.real.delete(name)

    def _time(self) -> tuple[int, int]:
        return self.now() // 1000, self.now() % 1000 * 1000


class SimulatedPipeline:
    """Collects commands; sends them together, and again where its reply was lost."""

    def __init__(self, store: SimulatedStore, more: dict[str, Any]) -> None:
        """`more` is what the client's own pipeline takes."""
        self._store = store
        self._more = more
        self._commands: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        """A command of the client."""

        def add(*args: Any, **more: Any) -> "SimulatedPipeline":
            self._commands.append((name, args, more))
            return self

        return add

    def execute(self) -> list[Any]:
        """Send all commands; the clock's answer is the simulated one."""
        commands, self._commands = self._commands, []

        def do() -> list[Any]:
            pipe = self._store.real.pipeline(**self._more)
            for name, args, more in commands:
                getattr(pipe, name)(*args, **more)
            answers: list[Any] = pipe.execute()
            return [
                self._store._time() if name == "time" else answer  # noqa: SLF001
                for (name, _, _), answer in zip(commands, answers, strict=True)
            ]

        return self._store.effects.call("store pipeline", do, away)
