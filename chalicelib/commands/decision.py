"""One decision: run a script, publish what it decided, arm the timer it asks for.

Every command goes this way, so nothing that was decided can be forgotten by one of them.
"""

from collections.abc import Callable
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

    keep: puts an event into the journal by itself, when the broker does not take it.
    """

    store: Redis
    publisher: EventPublisher
    arm: Arm
    keep: Callable[[AnyEvent], object]


@dataclass(frozen=True, slots=True)
class Decision:
    """The script's reply, and whether the broker has all events of it."""

    reply: Reply
    published: bool

    @property
    def outcome(self) -> str:
        """The outcome's word; each script's header lists its own."""
        return self.reply.outcome


def decide(outside: Outside, name: str, promotion_id: str, *args: str | int) -> Decision:
    """Run script `name` on a promotion, then publish and arm.

    What the broker does not take waits in the outbox, and is put into the journal as well: the
    store alone would be the only witness of what the customer is about to be told.

    Raises:
        redis.RedisError: the store is away or refused; calling again is safe.
    """
    reply = scripts.run(outside.store, name, promotion_id, *args)
    published = outbox.publish(reply.events, promotion_id, outside.store, outside.publisher)
    if not published:
        for event in reply.events:
            outside.keep(event)
    if reply.timer_at:
        outside.arm(Timer(promotion_id, reply.timer_at), reply.now)
    return Decision(reply, published)
