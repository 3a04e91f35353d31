"""One decision: run a script, publish what it decided, arm the timer it asks for.

Every command goes this way, so nothing that was decided can be forgotten by one of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis import Redis

from chalicelib.commands import outbox, scripts
from chalicelib.commands.scripts import Reply
from chalicelib.events import AnyEvent
from chalicelib.publisher import EventPublisher
from chalicelib.timers import Arm, Timer


@dataclass(frozen=True, slots=True)
class Outside:
    """What a command works with: the store, the broker, the timers.

    keep: puts an event into the journal by itself, when the broker does not take it; returns
    whether the journal has it.
    """

    store: Redis
    publisher: EventPublisher
    arm: Arm
    keep: Callable[[AnyEvent], bool]


class NotOnRecord(Exception):
    """It is decided, and only the store knows: neither broker nor journal took the event.

    The customer must not be told yet, because the store alone can forget it. Asking again is
    safe, and is told as soon as one of the two is back.
    """

    def __init__(self, promotion_id: str) -> None:
        """An event of `promotion_id`."""
        super().__init__(f"{promotion_id}: neither the broker nor the journal takes its event")


@dataclass(frozen=True, slots=True)
class Decision:
    """The script's reply, and whether the broker has all events of it."""

    reply: Reply
    published: bool

    @property
    def outcome(self) -> str:
        """The outcome's word; each script's header lists its own."""
        return self.reply.outcome


def decide(
    outside: Outside, name: str, promotion_id: str, *args: str | int, more: Sequence[str] = ()
) -> Decision:
    """Run script `name` on a promotion, then publish and arm.

    What the broker does not take waits in the outbox, and is put into the journal as well: the
    store alone would be the only witness of what the customer is about to be told.

    Raises:
        redis.RedisError: the store is away or refused; calling again is safe.
        NotOnRecord: it is decided and may not be told yet; calling again is safe.
    """
    reply = scripts.run(outside.store, name, promotion_id, *args, more=more)
    published = outbox.publish(reply.events, promotion_id, outside.store, outside.publisher)
    on_record = published or all(map(outside.keep, reply.events))
    if reply.timer_at:
        outside.arm(Timer(promotion_id, reply.timer_at), reply.now)
    if not on_record:
        raise NotOnRecord(promotion_id)
    return Decision(reply, published)


def put_on_record(promotion_id: str, outside: Outside) -> None:
    """Have everything published, or at least journaled, that still waits in the outbox.

    For commands whose repeat does not know which event it was that told of them before.

    Raises:
        redis.RedisError: the store is away.
        NotOnRecord: neither broker nor journal take it; calling again is safe.
    """
    if not outbox.publish_waiting(promotion_id, outside.store, outside.publisher):
        return
    if not all(map(outside.keep, outbox.waiting(promotion_id, outside.store))):
        raise NotOnRecord(promotion_id)
