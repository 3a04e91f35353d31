"""One history: runs its steps on the program, then heals everything and gathers the evidence."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, TypeVar

import redis
from pynamodb.exceptions import PynamoDBException

from chalicelib.clients import AWS_ERRORS
from chalicelib.commands import scripts
from chalicelib.commands.decision import NotOnRecord, Outside
from chalicelib.commands.recover import Repair
from chalicelib.events import AnyEvent
from chalicelib.projections.rebuild import rebuild
from chalicelib.publisher import BrokerUnavailable
from chalicelib.timers import DOUBT, Timer
from chalicelib.wiring import keep_in_journal
from simulate import broker as brokers
from simulate import tables
from simulate.broker import MemoryBroker, MessageQueue
from simulate.effects import Died, Effects, Process
from simulate.evidence import Answer
from simulate.lab import SETTLE_S, Lab
from simulate.steps import Sale, Step, write_step
from simulate.store import SimulatedStore

T = TypeVar("T")
BEGINS_AT = 1_700_000_000_000
# With this key the promotion's id is the same in every history, so that all else is the same, too.
KEY = "the sale"
# What the program's callers answer with 503: come again.
OUTAGES = (redis.ConnectionError, NotOnRecord, PynamoDBException, BrokerUnavailable, *AWS_ERRORS)
_JOURNAL = ("events", "conflicts")
# How deep processes may be suspended in one another.
_DEEPEST = 3


@dataclass(slots=True)
class Armed:
    """A timer on its way: when its queue delivers it at the earliest."""

    timer: Timer
    visible_at: int


@dataclass(slots=True)
class Facts:
    """What the judge has to know of a history; see Evidence."""

    set_back: bool = False
    by_hand: bool = False
    fences: list[tuple[int, int]] = field(default_factory=list)
    fenced_since: int | None = None
    errors: list[str] = field(default_factory=list)


class World:
    """The program, its surroundings and its callers, in one history."""

    def __init__(self, lab: Lab, steps: Sequence[Step]) -> None:
        """`steps` begin with the Sale; see `play`."""
        lab.begin_history()
        tables.clear()
        self.lab = lab
        self.now = BEGINS_AT
        self.steps = deque(steps)
        self.index = 0
        self.depth = 0
        self.effects = Effects(lambda: self.now, self._meanwhile)
        self.store = SimulatedStore(lab.real, self.effects, lambda: self.now)
        self.sale = steps[0] if steps and isinstance(steps[0], Sale) else Sale()
        self.broker = MemoryBroker(self.sale.broker, self.ask)
        self.tables_away: tuple[str, ...] = ()
        self.timers: list[Armed] = []
        self.snapshots: list[dict[str, bytes]] = []
        self.answers: list[Answer] = []
        self.told: dict[str, list[int]] = {}
        self.facts = Facts()
        self.met = ""
        self.log: list[str] = []
        self.promotion_id = ""
        self.wanted: Any = None
        self.ends_at = self.now
        self.outside = Outside(self.store, self, self.arm, keep_in_journal)  # type: ignore[arg-type]
        self.repair = Repair(self.drained, rebuild)
        lab.around, lab.now, lab.sleep = self._around_table, lambda: self.now, self._sleep

    # --- how steps run -----------------------------------------------------------------------

    def play(self, handlers: Mapping[type[Step], Callable[["World", Any], None]]) -> None:
        """Run all steps, each by its handler."""
        self._handlers = handlers
        while self.steps:
            self._next()

    def process(self, step: Step, work: Callable[[], T]) -> tuple[bool, T | None]:
        """Run `work` as a process of its own; (False, None) where its caller has no answer."""
        process = Process(step.fault, self.now + SETTLE_S * 1000)
        first = self.index
        answered, result, told = False, None, ""
        try:
            result = self.effects.run(process, work)
            answered, told = True, _told(result)
        except (Died, *OUTAGES) as error:
            told = f"no answer, {type(error).__name__}"
        except Exception as error:  # noqa: BLE001 - whatever else flies is a finding
            told = f"{type(error).__name__}: {error}"
            self.facts.errors.append(f"step {first}: {told}")
        self.met = process.met
        met = f", fault at {process.met}" if process.met else ""
        self.log.append(f"{first:3d} {write_step(step)}: {told}{met}")
        return answered, result

    def _next(self) -> None:
        step = self.steps.popleft()
        self.index += 1
        self._handlers[type(step)](self, step)
        self.settle()

    def _meanwhile(self, count: int) -> None:
        if self.depth >= _DEEPEST:
            return
        self.depth += 1
        try:
            for _ in range(count):
                if self.steps:
                    self._next()
        finally:
            self.depth -= 1

    def settle(self) -> None:
        """Between two steps: consumers that run take what waits, and fences are noted."""
        for queue in self.broker.all_queues:
            if queue.mode == "runs":
                self.drain(queue)
        fenced = self.promotion_id and self.lab.real.hexists(self.key_of("promotion"), "recovering")
        if fenced and self.facts.fenced_since is None:
            self.facts.fenced_since = self.now
        elif not fenced and self.facts.fenced_since is not None:
            self.facts.fences.append((self.facts.fenced_since, self.now))
            self.facts.fenced_since = None

    # --- what surrounds the program ----------------------------------------------------------

    def key_of(self, part: str) -> str:
        """The store's key of a part of the promotion."""
        return scripts.key(self.promotion_id, part)

    def pass_ms(self, ms: int) -> None:
        """Time passes."""
        self.now += ms
        self.store.tick()

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """See EventPublisher."""
        if not 0 < len(events) <= 10:  # noqa: PLR2004 - what both brokers take
            self.facts.errors.append(f"publish: {len(events)} events in one call")
        return self.effects.call(
            "publish", lambda: self.broker.publish(events), brokers.unavailable
        )

    def arm(self, timer: Timer, now_ms: int) -> None:
        """Send a delayed message; what can't be sent is left to the sweep."""
        delay_s = max(0, (timer.due_at - now_ms - 200) // 1000)
        armed = Armed(timer, self.now + delay_s * 1000)
        try:
            self.effects.call("arm", lambda: self.timers.append(armed), brokers.unavailable)
        except BrokerUnavailable:
            return

    def ask(self, promotion_id: str) -> None:
        """What the journal's consumer does when an event came too late, or a conflict came."""
        self.arm(Timer(promotion_id, DOUBT), 0)

    def drained(self, _: float) -> bool:
        """The journal's queue is empty; dead letters do not count, as in the cloud."""
        queue = self.broker.queues["journal"]
        return self.effects.call("drained", lambda: not queue.waiting, tables.unavailable)

    def drain(self, queue: MessageQueue) -> None:
        """Deliver all that waits; what a table does not take waits on."""
        for body in self.broker.in_order(queue, self.sale.order, self.index):
            try:
                queue.deliver(body)
            except OUTAGES:
                continue

    def live(self) -> bool:
        """True while somebody looks after the promotion."""
        return any("live" in row for row in tables.rows("seckill-local-promotions"))

    def _around_table(self, operation: str, table: str, do: Callable[[], Any]) -> Any:
        def do_if_available() -> Any:
            if table in self.tables_away:
                raise tables.unavailable()
            return do()

        return self.effects.call(f"{operation} {table}", do_if_available, tables.unavailable)

    def _sleep(self, seconds: float) -> None:
        self.pass_ms(ceil(seconds * 1000))


def _told(result: Any) -> str:
    """The result of a process, for a person."""
    if isinstance(result, tuple):
        outcome, coupon = result
        shown = f" {coupon.number} {coupon.state}" if coupon is not None else ""
        return f"{outcome}{shown}"
    outcome = getattr(result, "outcome", result)
    detail = getattr(result, "detail", "")
    return f"{outcome} {detail}".strip() if isinstance(outcome, str) else "done"
