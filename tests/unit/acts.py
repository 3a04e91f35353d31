"""What customers, operators and faults do to a promotion of a `World`, in a line each."""

from dataclasses import replace
from typing import Any

from redis import Redis

from chalicelib import clients, events, journal
from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.edit_promotion import RestockPromotion, cancel_promotion, restock_promotion
from chalicelib.commands.fold import fold
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon, give_back_coupon, pay_coupon
from chalicelib.commands.promotions import PromotionRow
from chalicelib.commands.recover import recover_promotion
from chalicelib.events import AnyEvent
from tests.unit.world import World

Snapshot = dict[Any, Any]


def grab(world: World, sale: str, customer: str, key: str | None = None) -> str:
    return grab_coupon(GrabCoupon(sale, customer, key), world.outside).outcome


def pay(world: World, sale: str, number: int, customer: str, reference: str | None = None) -> str:
    return pay_coupon(PayCoupon(sale, number, customer, reference), world.outside).outcome


def give_back(world: World, sale: str, number: int, customer: str) -> str:
    return give_back_coupon(GiveBackCoupon(sale, number, customer), world.outside).outcome


def restock(world: World, sale: str, add: int, key: str) -> str:
    return restock_promotion(RestockPromotion(sale, add, key), world.outside)


def recover(world: World, sale: str, *, doubted: bool = False) -> str:
    """A recovery, after which the consumers take what it has published."""
    outcome = recover_promotion(sale, world.outside, world.repair, doubted=doubted).outcome
    world.deliver()
    return outcome


def let_go_of(world: World) -> str:
    """A sale that is cancelled, and let go of; alice has given her coupon back."""
    sale = world.sale(stock=2, hold_seconds=600)
    grab(world, sale, "alice")
    give_back(world, sale, 1, "alice")
    cancel_promotion(sale, world.outside)
    world.settle()
    assert PromotionRow.get(sale).live is None
    return sale


def wipe(world: World, sale: str) -> None:
    world.store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))


def fail_over(world: World, sale: str) -> None:
    """Another server has the promotion now, in a history of its own."""
    world.store.hset(scripts.key(sale, "promotion"), "history", "of another server")


def snapshot(world: World, sale: str) -> Snapshot:
    keys = [scripts.key(sale, part) for part in scripts.PARTS]
    return {key: world.binary.dump(key) for key in keys if world.binary.exists(key)}


def go_back(world: World, sale: str, then: Snapshot) -> None:
    """What a fail-over to a replica that lagged behind does."""
    wipe(world, sale)
    for key, dump in then.items():
        world.binary.restore(key, 0, dump)


def lose(world: World, *lost: str) -> list[str]:
    """What is published and of these types, or of these customers, ends as dead letters."""
    bodies = world.queues.events
    dead = [body for body in bodies if _is_one_of(events.parse(body), lost)]
    bodies[:] = [body for body in bodies if body not in dead]
    return dead


def _is_one_of(event: AnyEvent, lost: tuple[str, ...]) -> bool:
    return event.type in lost or getattr(event, "customer_id", "") in lost


def redrive(world: World, dead: list[str]) -> None:
    """Dead letters are sent on, and the consumers take them."""
    world.queues.events += dead
    world.deliver()


def told(world: World, sale: str) -> dict[tuple[str, int], tuple[str, str | None]]:
    """State and payment of each coupon, as the journal has it."""
    world.deliver()
    folded = fold(journal.read(sale))
    return {
        place: (coupon.state, coupon.payment_reference) for place, coupon in folded.coupons.items()
    }


def states(world: World, sale: str) -> dict[tuple[str, int], str]:
    """State of each coupon, as the journal has it."""
    return {place: state for place, (state, _) in told(world, sale).items()}


def without_journal(outside: Outside) -> Outside:
    """The journal's table is away as well: what the broker does not take is on record nowhere."""
    return replace(outside, keep=lambda _: False)


def messages(queue: str) -> list[AnyEvent]:
    """Take all events of a queue of the account."""
    return [events.parse(body) for body in bodies(queue)]


def bodies(queue: str) -> list[str]:
    """Take all messages of a queue of the account."""
    url = clients.sqs().get_queue_url(QueueName=f"seckill-local-{queue}")["QueueUrl"]
    found: list[str] = []
    while (
        got := clients.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages")
    ):
        for message in got:
            found.append(message["Body"])
            clients.sqs().delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def wipe_store(store: Redis, sale: str) -> None:
    store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))
