"""The sweep has little time and many promotions: none keeps the others from their turn."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from chalicelib import journal
from chalicelib.commands import outbox, scripts
from chalicelib.commands.recover import recover_promotion
from chalicelib.commands.sweep import sweep
from chalicelib.events import AnyEvent, parse
from chalicelib.publisher import EventPublisher
from tests.unit.acts import fail_over, grab, wipe
from tests.unit.conftest import state_of
from tests.unit.world import Killed, World, killed, world

__all__ = ["world"]


class Crowd:
    """A publisher; at each of its calls two more win a coupon of the sale, in other processes."""

    def __init__(self, world: World, sale: str) -> None:
        self.world, self.sale, self.calls = world, sale, 0

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        self.calls += 1
        for n in range(2):
            self.win(f"c-{self.calls}-{n}")
        return self.world.outside.publisher.publish(events)

    def win(self, customer: str) -> None:
        scripts.run(self.world.store, "grab", self.sale, customer, f"{self.sale}-{customer}", 0)


def test_a_sweep_ends_while_a_crowd_grabs(world: World) -> None:
    sale = world.sale(stock=10**6)
    crowd = Crowd(world, sale)
    for n in range(50):
        crowd.win(f"first-{n}")
    publisher: EventPublisher = crowd
    swept = sweep(replace(world.outside, publisher=publisher), world.repair)
    assert swept.failed == []
    assert crowd.calls <= 10


def test_a_busy_sale_keeps_no_other_from_being_published(world: World) -> None:
    busy, quiet = world.sale(stock=10**6), world.sale()
    scripts.run(world.store, "grab", quiet, "alice", f"{quiet}-alice", 0)
    crowd = Crowd(world, busy)
    crowd.win("first")
    swept = sweep(replace(world.outside, publisher=crowd), world.repair)
    customers = {getattr(parse(body), "customer_id", "") for body in world.queues.events}
    assert {"alice", "first"} <= customers
    assert swept.failed == []


def test_a_relay_leaves_to_the_next_what_is_decided_meanwhile(world: World) -> None:
    sale = world.sale(stock=10**6)
    crowd = Crowd(world, sale)
    for n in range(25):
        crowd.win(f"first-{n}")
    relayed = outbox.relay(sale, world.store, crowd)
    assert (crowd.calls, relayed.waiting, relayed.refused) == (3, 6, False)


def test_a_recovery_that_takes_the_sweeps_whole_time_does_not_starve_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sweep ends in it; the others have their turn at the second one at the latest."""
    slow = world.sale(now=500)
    others = [world.sale(now=500) for _ in range(3)]
    wipe(world, slow)
    for sale in others:
        wipe(world, sale)
    read = journal.read

    def slowly(promotion_id: str, after: int = 0) -> Iterator[AnyEvent]:
        if promotion_id == slow:
            raise Killed
        return read(promotion_id, after)

    monkeypatch.setattr(journal, "read", slowly)
    for _ in range(2):
        with pytest.raises(Killed):
            sweep(world.outside, world.repair)
    assert [state_of(world.store, sale).get("state") for sale in others] == ["SCHEDULED"] * 3


def test_a_recovery_gets_on_from_attempt_to_attempt(world: World) -> None:
    """300 events wait in the outbox, and each attempt is killed long before it is done."""
    sale = world.sale(stock=1000)
    crowd = Crowd(world, sale)
    for n in range(300):
        crowd.win(f"c-{n}")
    fail_over(world, sale)
    attempts = 1
    while killed(world, 60, lambda: recover_promotion(sale, world.outside, world.repair)):
        attempts += 1
        assert attempts < 20, "each attempt begins anew"
    assert grab(world, sale, "c-0") == "REPEATED"
    assert attempts > 5
