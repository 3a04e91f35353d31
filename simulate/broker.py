"""A broker in memory, its queues and their consumers, with faults that a history stages."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from chalicelib.events import AnyEvent, parse
from chalicelib.projections import active_promotions, coupons, journal
from chalicelib.publisher import BrokerUnavailable

Handle = Callable[[AnyEvent], object]
Ask = Callable[[str], None]


def projections(ask: Ask) -> dict[str, tuple[Handle, ...]]:
    """What each queue's consumer does; `ask` has a promotion checked."""
    return {
        "journal": (partial(journal.on_event, ask=ask),),
        "coupons": (coupons.on_event,),
        "active": (active_promotions.on_event,),
    }


@dataclass(slots=True)
class MessageQueue:
    """A queue with its consumer and its dead letters; messages are the events' JSON."""

    handles: tuple[Handle, ...]
    mode: str = "runs"
    waiting: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)

    def put(self, body: str) -> None:
        """A message comes; where the consumer fails, it becomes a dead letter."""
        (self.dead if self.mode == "fails" else self.waiting).append(body)

    def deliver(self, body: str) -> None:
        """Hand a waiting message to the projections, and delete it when all have taken it.

        Raises:
            pynamodb.exceptions.PynamoDBException: a table is away; the message still waits.
        """
        event = parse(body)
        for handle in self.handles:
            handle(event)
        if body in self.waiting:
            self.waiting.remove(body)
        self.delivered.append(body)

    def redrive(self) -> None:
        """Dead letters wait again."""
        self.waiting += self.dead
        self.dead.clear()


class MemoryBroker:
    """Puts each event into every queue that there is."""

    def __init__(self, kind: str, ask: Ask) -> None:
        """`kind` is "sns" (a queue per projection) or "sqs" (one queue for all)."""
        consumers = projections(ask)
        if kind == "sqs":
            one = MessageQueue(tuple(handle for group in consumers.values() for handle in group))
            self.queues = dict.fromkeys(consumers, one)
        else:
            self.queues = {name: MessageQueue(handles) for name, handles in consumers.items()}
        self.mode = "works"

    @property
    def all_queues(self) -> list[MessageQueue]:
        """Each queue once."""
        return list({id(queue): queue for queue in self.queues.values()}.values())

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        """See EventPublisher.

        Raises:
            BrokerUnavailable: it is away, or its acknowledgement was lost.
        """
        if self.mode == "away":
            raise unavailable()
        taken = list(events[:1] if self.mode == "partly" else events)
        for event in taken:
            for queue in self.all_queues:
                queue.put(event.to_wire())
        if self.mode == "silent":
            raise unavailable()
        return taken

    def in_order(self, queue: MessageQueue, order: str, seed: int) -> list[str]:
        """The waiting messages in the order in which the queue delivers them."""
        bodies = list(queue.waiting)
        if order == "lifo":
            bodies.reverse()
        elif order == "shuffled":
            random.Random(seed).shuffle(bodies)
        return bodies


def unavailable() -> Exception:
    """What a publisher raises when the broker does not answer."""
    return BrokerUnavailable("the broker does not answer")
