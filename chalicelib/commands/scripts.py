"""The Lua scripts: how they are put together, and one way to run them.

A script is several files in a row: the parts that all have, and its own at the end. What refuses a
crowd early comes before the parts that only the others need. They are static text; no value ever
becomes part of it.
All keys of a promotion share one hash slot and are passed in KEYS.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeVar, cast

from redis import Redis, RedisCluster
from redis.client import Pipeline
from redis.commands.core import Script
from redis.exceptions import NoScriptError

from chalicelib import events, telemetry
from chalicelib.events import AnyEvent, InvalidEvent

PARTS = ("promotion", "customers", "outbox", "holds")
_EARLY = {"grab": ("throttle", "late"), "admit": ("throttle",)}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a script answered: the outcome's word, its details, and the events it decided.

    timer_at: when the promotion has to be touched again, 0 for never; now: the store's clock,
    0 where the script did not need it; both in epoch ms.
    """

    outcome: str
    detail: Mapping[str, Any]
    events: tuple[AnyEvent, ...]
    timer_at: int = 0
    now: int = 0


T = TypeVar("T")


def readable(parse: Callable[[T], AnyEvent], texts: Iterable[T]) -> list[AnyEvent]:
    """The events in what the outbox has; one that can't be read is counted and keeps no other."""
    found = []
    for text in texts:
        try:
            found.append(parse(text))
        except InvalidEvent as error:
            telemetry.count("outbox_unreadable", reason=str(error))
    return found


def key(promotion_id: str, part: str) -> str:
    """The store's key of one part of a promotion; the braces put all parts into one slot."""
    return f"seckill:{{{promotion_id}}}:{part}"


@cache
def source(name: str, clock: str | None = None) -> str:
    """The text of script `name`; `clock` replaces the part that reads the store's clock."""
    folder = resources.files(__package__)
    head = (folder / "clock.lua").read_text() if clock is None else clock
    parts = ("history", *_EARLY.get(name, ()), "coupon", "promotion", name)
    return "\n".join([head, *((folder / f"{part}.lua").read_text() for part in parts)])


class _ScriptOfOneServer(Script):
    """A script that is sent again, as text, to the one server that does not have it.

    redis-py loads it into all primaries of a cluster instead: a node that is new, or was
    restarted, would serve nobody while any other is away.
    """

    def __call__(
        self, keys: Any = None, args: Any = None, client: Redis | RedisCluster | None = None
    ) -> Any:
        """Run it; in a cluster the keys choose the node."""
        if isinstance(client, Pipeline):
            return super().__call__(keys, args, client)
        store: Any = client or self.registered_client
        values = (len(keys or ()), *(keys or ()), *(args or ()))
        try:
            return store.evalsha(self.sha, *values)
        except NoScriptError:
            return store.eval(self.script, *values)


@cache
def script(store: Redis, name: str) -> Script:
    """Script `name` on `store`; a server that has forgotten it gets it again."""
    return _ScriptOfOneServer(store, source(name))


def clock_ms(promotion_id: str, store: Redis) -> int:
    """The clock of the server that has the promotion, in epoch ms.

    The nodes of a cluster have a clock each, and any other may be away.
    """
    time: Any
    if isinstance(store, RedisCluster):
        time = store.eval("return redis.call('TIME')", 1, key(promotion_id, "promotion"))
    else:
        time = store.time()
    return int(time[0]) * 1000 + int(time[1]) // 1000


def run(
    store: Redis, name: str, promotion_id: str, *args: str | int, more: Sequence[str] = ()
) -> Reply:
    """Run script `name` on one promotion: one round trip, one atomic step.

    `more` names further parts whose keys the script takes.

    Raises:
        redis.ConnectionError, redis.TimeoutError: the store did not answer; whether the
            script ran is not known, and running it again is safe.
        redis.ResponseError: the store refused or the script is broken.
    """
    keys = [key(promotion_id, part) for part in (*PARTS, *more)]
    raw = cast("list[Any]", script(store, name)(keys=keys, args=[promotion_id, *args]))
    outcome, detail, decided, *timing = raw
    items = iter(detail)
    return Reply(
        outcome=outcome,
        detail=dict(zip(items, items, strict=True)),
        events=tuple(readable(events.from_reply, decided)),
        timer_at=timing[0] if timing else 0,
        now=timing[1] if timing else 0,
    )
