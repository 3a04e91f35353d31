"""One decision: run a script, publish what it decided, arm the timer it asks for.

Every command goes this way, so nothing that was decided can be forgotten by one of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis import Redis

from chalicelib.commands import outbox, scripts
from chalicelib.commands.promotions import look_after_again
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

    def __init__(self, promotion_id: str, reply: Reply) -> None:
        """An event of `promotion_id`; `reply` is what was decided."""
        super().__init__(f"{promotion_id}: neither the broker nor the journal takes its event")
        self.reply = reply


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
    store alone would be the only witness of what the customer is about to be told. A promotion that
    the sweep has let go of is put under watch before anything is decided there.

    Raises:
        redis.RedisError: the store is away or refused; calling again is safe.
        pynamodb.exceptions.UpdateError: a promotion that is over could not be put under watch;
            nothing was decided.
        NotOnRecord: it is decided and may not be told yet; calling again is safe.
    """
    reply = scripts.run(outside.store, name, promotion_id, *args, more=more)
    if reply.outcome == "RETIRED":
        look_after_again(promotion_id)
        scripts.run(outside.store, "watch", promotion_id)
        reply = scripts.run(outside.store, name, promotion_id, *args, more=more)
    published = outbox.publish(reply.events, promotion_id, outside.store, outside.publisher)
    on_record = published or all(map(outside.keep, reply.events))
    if reply.timer_at:
        outside.arm(Timer(promotion_id, reply.timer_at), reply.now)
    if not on_record:
        raise NotOnRecord(promotion_id, reply)
    return Decision(reply, published)
