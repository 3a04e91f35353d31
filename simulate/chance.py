"""Random histories: the same seed gives the same history."""

import random
from collections.abc import Callable
from typing import Literal

from simulate.steps import (
    Broker,
    Cancel,
    Consumer,
    CreateAgain,
    Deliver,
    Edit,
    FailOver,
    Fault,
    FaultKind,
    GiveBack,
    Grab,
    Pay,
    Queue,
    Reconcile,
    Recover,
    Redrive,
    Repeat,
    Restock,
    RollBack,
    Sale,
    Snapshot,
    Step,
    Sweep,
    Tables,
    Time,
    Wake,
    Wipe,
    with_fault,
)

CUSTOMERS = ("alice", "bob", "carol", "dave")
REFERENCES = ("visa-1", "visa-2", "visa-3", None)
QUEUES: tuple[Queue, ...] = ("journal", "journal", "coupons", "active")
LENGTHS = (10, 30)
# How many calls to the outside a step makes, roughly: faults meet any of them.
_CALLS: dict[type[Step], int] = {
    Sweep: 24, Recover: 24, Wake: 16, Reconcile: 24, Cancel: 8, Sale: 6, CreateAgain: 6,
}  # fmt: skip
_MOST_CALLS = 5
_FAULTS: tuple[FaultKind, ...] = ("dies", "dies", "fails", "unheard", "again", "waits", "waits")


class Author:
    """Draws the steps of one history."""

    def __init__(self, seed: int) -> None:
        """The same seed draws the same steps."""
        self.rng = random.Random(seed)
        self.sale = self._sale()
        self.customers = CUSTOMERS[: self.rng.choice([2, 2, 3, 4])]
        # With few kinds of faults at once, each is met where nothing else has gone wrong, too.
        kinds = [kind for kind in KINDS if self._chance(0.5)]
        self._kinds = [*USUAL, *(pair for kind in kinds for pair in KINDS[kind])]
        self._weights = [weight for weight, _ in self._kinds]
        self._faulty = self.rng.choice([0.0, 0.0, 0.1, 0.3])
        self._came: list[str] = []

    def write(self) -> list[Step]:
        """The history."""
        length = self.rng.randint(*LENGTHS)
        disasters = self._chance(0.5)
        made: list[Step] = [self.sale]
        if self.sale.opens_s:
            made += [
                *self._maybe(self.edit),
                *self._maybe(self.restock),
                *self._maybe(self.opening),
            ]
        while len(made) <= length:
            draw = self.rng.choices(self._kinds, self._weights)[0][1]
            made += self.disaster() if disasters else draw(self)
        return [self._with_fault(step) for step in made]

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share

    def _sale(self) -> Sale:
        pick = self.rng.choice
        return Sale(
            stock=pick([1, 2, 2, 3, 4]),
            limit=pick([1, 1, 1, 2, 3]),
            hold_s=pick([0, 5, 30, 600]),
            opens_s=pick([0, 0, 0, 10]),
            lasts_s=pick([60, 600, 600]),
            price=pick([False, False, False, True]),
            broker=pick(["sns", "sqs"]),
            order=pick(["fifo", "lifo", "shuffled"]),
        )

    def _with_fault(self, step: Step) -> Step:
        if isinstance(step, Time) or not self._chance(self._faulty):
            return step
        kind = self.rng.choice(_FAULTS)
        between = self.rng.randint(1, 4) if kind in ("again", "waits") else 0
        at = self.rng.randint(1, _CALLS.get(type(step), _MOST_CALLS))
        return with_fault(step, Fault(kind, at, between))

    def opening(self) -> list[Step]:
        """Time passes until the sale opens."""
        return [Time(ms=self.sale.opens_s * 1000)]

    def grab(self) -> list[Step]:
        """A customer comes, perhaps again."""
        who = self.rng.choice(self.customers)
        self._came.append(who)
        return [Grab(who=who, key=self.rng.choice([None, None, "k1", "k2"]))]

    def pay(self) -> list[Step]:
        """Someone pays."""
        return [Pay(who=self._who(), nth=self._nth(), reference=self.rng.choice(REFERENCES))]

    def buy(self) -> list[Step]:
        """A customer comes and pays."""
        grab = self.grab()
        return [*grab, Pay(who=self._came[-1], reference=self.rng.choice(REFERENCES))]

    def pay_again(self) -> list[Step]:
        """The same payment is told twice."""
        return self.pay() * 2

    def give_back(self) -> list[Step]:
        """Someone changes their mind."""
        return [GiveBack(who=self._who(), nth=self._nth())]

    def restock(self) -> list[Step]:
        """More units."""
        return [Restock(add=self.rng.randint(1, 2), key=self.rng.choice(["k1", "k2", None]))]

    def edit(self) -> list[Step]:
        """Another offer."""
        pick = self.rng.choice
        return [
            Edit(
                stock=pick([1, 2, 4]), limit=pick([1, 2]), hold_s=pick([self.sale.hold_s, 5]),
                opens_s=pick([0, 1, 10]), lasts_s=pick([60, 600]),
            )
        ]  # fmt: skip

    def time(self) -> list[Step]:
        """Time passes: a little, or to one side or the other of something due."""
        hold_ms = self.sale.hold_s * 1000
        spans = [1, 999, 1000, 3000, 11_000, hold_ms, hold_ms // 2, hold_ms - 1]
        if self._chance(0.1):
            spans = [60_000, self.sale.lasts_s * 1000]
        return [Time(ms=max(1, self.rng.choice(spans)))]

    def recovery(self) -> list[Step]:
        """What sweeps do in a minute: doubt, wait until all has settled, recover."""
        return [Sweep(), Time(ms=11_000), Sweep()]

    def consumer(self) -> list[Step]:
        """A queue's consumer."""
        modes: list[Literal["runs", "stopped", "fails"]] = ["runs", "stopped", "fails"]
        return [Consumer(queue=self.rng.choice(QUEUES), mode=self.rng.choice(modes))]

    def deliver(self) -> list[Step]:
        """One message out of turn."""
        return [Deliver(queue=self.rng.choice(QUEUES), nth=self.rng.choice([0, -1, 1]))]

    def repeat(self) -> list[Step]:
        """One message again."""
        return [Repeat(queue=self.rng.choice(QUEUES), nth=self.rng.choice([-1, -2, 0]))]

    def broker(self) -> list[Step]:
        """The broker."""
        modes: list[Literal["works", "away", "partly", "silent"]]
        modes = ["works", "away", "partly", "silent"]
        return [Broker(mode=self.rng.choice(modes))]

    def tables(self) -> list[Step]:
        """The tables."""
        which: list[Literal["journal", "promotions", "all"]] = ["journal", "promotions", "all"]
        return [Tables(which=self.rng.choice(which), available=self._chance(0.6))]

    def not_on_record(self) -> list[Step]:
        """Neither the broker nor the journal is there for somebody's request, only one is later."""
        request = self.rng.choice([self.grab, self.pay, self.give_back, self.restock])()
        return [
            Broker(mode="away"), Tables(which="journal", available=False), *request,
            Broker(), *self.time(), *request, Tables(),
        ]  # fmt: skip

    def snapshot(self) -> list[Step]:
        """A replica has got that far."""
        return [Snapshot()]

    def roll_back(self) -> list[Step]:
        """The store is what it was before."""
        manners: list[Literal["fail-over", "hand"]] = ["fail-over", "hand", "hand"]
        return [RollBack(nth=self.rng.choice([-1, -1, -2, 0]), by=self.rng.choice(manners))]

    def disaster(self) -> list[Step]:
        """The store forgets what it has sold, sells on, and is recovered, among outages."""
        made: list[Step] = [Snapshot()] if self._chance(0.8) else []
        made += [*self._maybe(self._trouble), *self._wishes(), *self._maybe(self._relief)]
        if self._chance(0.5):
            # Nobody notices at first: two stories go on under the same versions.
            made += [
                RollBack(nth=self.rng.choice([-1, -1, -2]), by="hand"),
                *self._maybe(self.time),
            ]
        else:
            made += self.rng.choice([self.roll_back, self.wipe, self.fail_over])()
            made += self.recovery() if self._chance(0.8) else []
        made += [*self._maybe(self._trouble), *self._wishes(), *self._maybe(self._relief)]
        made += [*self._maybe(self.recovery), *self._maybe(self._again)]
        return made

    def _maybe(self, draw: Callable[[], list[Step]]) -> list[Step]:
        return draw() if self._chance(0.5) else []

    def _wishes(self) -> list[Step]:
        """What customers and operators may want in the middle of a sale."""
        draws = [self.grab, self.grab, self.buy, self.buy, self.pay, self.give_back, self.restock]
        chosen = self.rng.choices(draws, k=self.rng.randint(1, 3))
        return [step for draw in chosen for step in draw()]

    def _again(self) -> list[Step]:
        """A payment that is told again, or a customer who comes again."""
        return self.rng.choice([self.pay, self.grab])()

    def _trouble(self) -> list[Step]:
        return self.rng.choice([
            [Broker(mode="away")],
            [Broker(mode="away"), Tables(which="journal", available=False)],
            [Tables(which=self.rng.choice(["journal", "promotions", "all"]), available=False)],
            [Consumer(queue=self.rng.choice(QUEUES), mode="stopped")],
            [Consumer(queue=self.rng.choice(QUEUES), mode="fails")],
        ])  # fmt: skip

    def _relief(self) -> list[Step]:
        return self.rng.choice([
            [Broker()], [Tables()], [Broker(), Tables()], [Consumer()], [Redrive()],
            [Consumer(queue="coupons"), Consumer(queue="active")],
        ])  # fmt: skip

    def fail_over(self) -> list[Step]:
        """Another server, and nothing is lost."""
        return [FailOver()]

    def wipe(self) -> list[Step]:
        """The store forgets."""
        parts: list[Literal["all", "promotion", "customers"]] = ["all", "promotion", "customers"]
        return [Wipe(part=self.rng.choice([*parts, "all"]))]

    def late_messages(self) -> list[Step]:
        """A dead letter comes after a recovery that did not know it."""
        return [
            Consumer(mode="fails"), *self.grab(), Consumer(), Wipe(), *self.recovery(),
            *self.grab(), Redrive(),
        ]  # fmt: skip

    def _who(self) -> str:
        """One of those who came last, mostly: the others have nothing to pay."""
        return self.rng.choice(self._came[-3:] if self._came else self.customers)

    def _nth(self) -> int:
        return self.rng.choice([-1, -1, -1, 0, -2])


Draw = Callable[[Author], list[Step]]
# What always may happen, and how often.
USUAL: list[tuple[int, Draw]] = [
    (10, Author.grab),
    (4, Author.buy),
    (4, Author.pay),
    (1, Author.pay_again),
    (3, Author.give_back),
    (2, Author.restock),
    (1, Author.edit),
    (6, Author.time),
    (2, lambda _: [Sweep()]),
    (2, lambda _: [Wake()]),
]
# What happens in some histories only.
KINDS: dict[str, list[tuple[int, Draw]]] = {
    "cancel": [(2, lambda _: [Cancel()])],
    "messages": [
        (4, Author.consumer),
        (2, Author.deliver),
        (1, Author.repeat),
        (1, lambda _: [Redrive()]),
    ],
    "outages": [(3, Author.broker), (2, Author.tables), (1, Author.not_on_record)],
    "roll-back": [
        (4, Author.snapshot),
        (3, Author.roll_back),
        (2, Author.disaster),
        (1, Author.fail_over),
        (2, Author.recovery),
    ],
    "wipe": [(2, Author.wipe), (2, Author.recovery)],
    "late": [(1, Author.late_messages)],
    "repairs": [
        (1, lambda _: [Recover()]),
        (1, lambda _: [Reconcile()]),
        (1, lambda _: [CreateAgain()]),
    ],
}


def history(seed: int) -> list[Step]:
    """A random history."""
    return Author(seed).write()
