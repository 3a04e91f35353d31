"""The program with a clock that tests set, faults that they stage, and an end at any statement.

Between two effects on the outside it makes no difference where a process dies: it leaves the same
behind. So one kill per effect stands for all statements up to the next one.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from redis import Redis
from redis.client import Pipeline

import chalicelib
from chalicelib import events, journal, timers
from chalicelib.commands import over, scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.decision import Outside
from chalicelib.commands.promotions import find_promotion
from chalicelib.commands.reconcile import audit
from chalicelib.commands.recover import Repair
from chalicelib.commands.sweep import sweep
from chalicelib.commands.wake import wake_promotion
from chalicelib.projections import active_promotions, coupons
from chalicelib.projections import journal as journal_projection
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.projections.rebuild import rebuild
from chalicelib.publisher import SqsPublisher
from chalicelib.timers import DOUBT, Timer
from chalicelib.wiring import keep_in_journal, read_tables
from simulate import tables
from tests.unit.conftest import REGION, promotion_row, state_of

_PACKAGE = Path(chalicelib.__file__).parent
_TRACED = {
    *map(str, (_PACKAGE / "commands").glob("*.py")),
    *(str(_PACKAGE / f"{name}.py") for name in ("journal", "publisher", "timers")),
    str(_PACKAGE / "projections" / "rebuild.py"),
}
_TABLE_READS = {"GetItem", "Query", "Scan", "BatchGetItem"}
_STORE_READS = {
    "EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "HSCAN", "PING", "TIME", "TTL",
    "XLEN", "XRANGE", "XREVRANGE", "ZRANGE",
}  # fmt: skip
# What differs between two ways to the same end: versions, and keys of single calls.
_VOLATILE = {"version", "closed_version", "timer_at", "revision", "lifted", "edits", "audits"}
_ROW_VOLATILE = {"revision", "checked_version", "watched_at", "version", "offer_version",
                 "state_version"}  # fmt: skip


# A sweep that finds nothing to do notes its turn twice, and looks at each promotion.
_QUIET = 2


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Queues:
    """A client of SQS, for the events' queue and the timers'; `takes` events of each batch."""

    events: list[str] = field(default_factory=list)
    timers: list[str] = field(default_factory=list)
    takes: int = 10
    touch: Callable[[], None] = lambda: None

    def send_message_batch(self, **call: Any) -> dict[str, Any]:
        taken = call["Entries"][: self.takes]
        self.events += [entry["MessageBody"] for entry in taken]
        self.touch()
        return {"Successful": [{"Id": entry["Id"]} for entry in taken]}

    def send_message(self, **call: Any) -> None:
        self.timers.append(call["MessageBody"])
        self.touch()


@dataclass
class Saved:
    """A promotion's keys with their times to live, all tables' items, and what is queued."""

    sale: str
    keys: dict[Any, tuple[Any, int]]
    items: dict[str, Any]
    events: list[str]
    timers: list[str]


def _moto_tables() -> Iterator[tuple[str, Any]]:
    yield from dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables.items()


@dataclass
class World:
    """The program with one store, one account and one set of queues; counts its effects."""

    store: Redis
    binary: Redis
    set_clock: Callable[[str, int], None]
    queues: Queues = field(default_factory=Queues)
    effects: int = 0
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queues.touch = self.touch
        client: Any = self.queues
        self.outside = Outside(
            self.store,
            SqsPublisher(client, "events"),
            timers.queue_timers(client, "timers"),
            keep_in_journal,
        )
        self.repair = Repair(lambda _: True, rebuild)

    def touch(self) -> None:
        self.effects += 1

    def save(self, sale: str) -> Saved:
        """All that is there, to start from again."""
        names: Any = self.binary.scan_iter(match=f"*{sale}*")
        keys = {name: (self.binary.dump(name), self.binary.pttl(name)) for name in names}
        items = {name: deepcopy(table.items) for name, table in _moto_tables()}
        return Saved(sale, keys, items, list(self.queues.events), list(self.queues.timers))

    def restore(self, saved: Saved) -> None:
        """As it was when it was saved."""
        for name in self.binary.scan_iter(match=f"*{saved.sale}*"):
            self.binary.delete(name)
        for name, (dump, lives_ms) in saved.keys.items():
            self.binary.restore(name, max(0, lives_ms), dump)
        for name, table in _moto_tables():
            table.items = deepcopy(saved.items[name])
        self.queues.events[:] = saved.events
        self.queues.timers[:] = saved.timers

    def sale(self, stock: int = 3, now: int = 1500, ends_at: int = 2000, **more: Any) -> str:
        """A promotion in table and store, which opens at 1000."""
        row = promotion_row(stock, 1000, ends_at, **more)
        row.save()
        self.set_clock(row.promotion_id, now)
        install_promotion(row, self.outside)
        return str(row.promotion_id)

    def deliver(self) -> None:
        """The consumers take what was published."""
        waiting, self.queues.events[:] = list(self.queues.events), []
        for body in waiting:
            event = events.parse(body)
            journal_projection.on_event(event, self._ask)
            coupons.on_event(event)
            active_promotions.on_event(event)

    def _ask(self, sale: str) -> None:
        self.queues.timers.append(Timer(sale, DOUBT).to_wire())

    def wake(self) -> None:
        """The timers' consumer takes what was armed; a message stays until it is done with."""
        for body in list(self.queues.timers):
            wake_promotion(timers.parse(body), self.outside, self.repair)
            self.queues.timers.remove(body)

    def settle(self) -> None:
        """What comes by itself: messages, timers, up to three sweeps."""
        over._marks.clear()  # noqa: SLF001 - another process
        for place in self.store.scan_iter(match="seckill:recovering:*"):
            self.store.delete(place)  # a process that was killed gives it back after a while
        self.queues.takes = 10
        for _ in range(3):
            self.deliver()
            self.wake()
            self.deliver()
            before = self.effects
            swept = sweep(self.outside, self.repair)
            if self.effects - before == _QUIET + swept.promotions:
                break
        self.deliver()

    def end(self, sale: str) -> dict[str, Any]:
        """All that store and tables have of a promotion, but for versions."""
        state = state_of(self.store, sale)
        customers = self.store.hgetall(scripts.key(sale, "customers"))
        row = find_promotion(sale)
        found = audit(sale, self.outside, read_tables, 0) or []
        return {
            "store": {
                name: text.split()[0] if name.startswith("restock:") else text
                for name, text in state.items()
                if name not in _VOLATILE
            },
            "expires": self.store.ttl(scripts.key(sale, "promotion")) > 0,
            "customers": {str(who): _coupons(str(text)) for who, text in customers.items()},
            "holds": self.store.zrange(scripts.key(sale, "holds"), 0, -1, withscores=True),
            "outbox": self.store.xlen(scripts.key(sale, "outbox")),
            "row": None if row is None else _plain(row),
            "coupon rows": sorted(
                (_plain(row) for row in CouponRow.scan()),
                key=lambda row: (row["customer_id"], row["number"]),
            ),
            "active": [_plain(row) for row in ActivePromotionRow.scan()],
            "conflicts": len(journal.conflicts(sale)),
            "differences": sorted(f"{d.kind} {d.detail}" for d in found),
        }


def _coupons(text: str) -> list[list[str]]:
    parts = [coupon.split() for coupon in text.split(";")]
    return [[*coupon[:1], *coupon[2:]] for coupon in parts]


def _plain(row: Any) -> dict[str, Any]:
    values = row.attribute_values
    return {name: value for name, value in values.items() if name not in _ROW_VOLATILE}


@pytest.fixture
def world(
    aws: None,
    store: Redis,
    store_url: str,
    set_clock: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    made = World(store, Redis.from_url(store_url), set_clock)
    command, execute = Redis.execute_command, Pipeline.execute

    def counted(client: Redis, *args: Any, **options: Any) -> Any:
        answer = cast("Any", command)(client, *args, **options)
        if args[0] not in _STORE_READS:
            made.touch()
        return answer

    def executed(pipe: Any, raise_on_error: bool = True) -> Any:  # noqa: FBT001, FBT002
        answer = execute(pipe, raise_on_error)
        made.touch()
        return answer

    def around(operation: str, _table: str, do: Callable[[], Any]) -> Any:
        answer = do()
        if operation not in _TABLE_READS:
            made.touch()
        return answer

    monkeypatch.setattr(Redis, "execute_command", counted)
    monkeypatch.setattr(Pipeline, "execute", executed)
    with tables.directly(around):
        yield made
    made.binary.close()


@contextmanager
def dies_after(world: World, effects: int) -> Iterator[None]:
    """Kill what runs here at its first statement after so many effects."""
    limit = world.effects + effects

    def at_line(_frame: FrameType, kind: str, _: Any) -> Any:
        if kind == "line" and world.effects >= limit:
            raise Killed
        return at_line

    def at_call(frame: FrameType, kind: str, _: Any) -> Any:
        return at_line if kind == "call" and frame.f_code.co_filename in _TRACED else None

    before = sys.gettrace()
    threading.settrace(at_call)
    sys.settrace(at_call)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(cast("Any", None))


def killed(world: World, effects: int, act: Callable[[], object]) -> bool:
    """Run `act` and kill it after so many effects; False if it is done before."""
    try:
        with dies_after(world, effects):
            act()
    except Killed:
        for place in world.store.scan_iter(match="seckill:recovering:*"):
            world.store.delete(place)  # a process that was killed gives it back after a while
        return True
    return False
