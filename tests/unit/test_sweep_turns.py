"""The sweep has little time and many promotions: none keeps the others from their turn."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from chalicelib import journal
from chalicelib.commands import outbox, scripts
from chalicelib.commands import sweep as sweeping
from chalicelib.commands.recover import recover_promotion
from chalicelib.commands.sweep import sweep
from chalicelib.events import AnyEvent, parse
from chalicelib.publisher import EventPublisher
from simulate import tables
from tests.unit.acts import fail_over, grab, wipe
from tests.unit.conftest import state_of
from tests.unit.world import Killed, World, world

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


def test_a_pass_whose_time_is_over_is_gone_on_with_by_the_next_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_LOOKS_S", 0.0)
    monkeypatch.setattr(sweeping, "_WORK_S", -1.0)
    monkeypatch.setattr(sweeping, "_LOOKED_AT_ONCE", 1)
    sales = [world.sale(now=500) for _ in range(4)]
    for sale in sales:
        world.set_clock(sale, 1500)
    for looked_at in range(1, 5):
        swept = sweep(world.outside, world.repair)
        started = [state_of(world.store, sale)["state"] for sale in sales].count("ON_SALE")
        assert (swept.promotions, swept.behind, started) == (1, 1, looked_at)


def test_a_recovery_gets_on_from_attempt_to_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 events wait in the outbox; each attempt has the time for sixty, new or known."""
    sale = world.sale(stock=1000)
    crowd = Crowd(world, sale)
    for n in range(300):
        crowd.win(f"c-{n}")
    fail_over(world, sale)
    append, appended = journal.append, 0

    def slowly(event: AnyEvent) -> str:
        nonlocal appended
        appended += 1
        if appended % 60 == 0:
            raise Killed
        return append(event)

    monkeypatch.setattr(journal, "append", slowly)
    attempts = 0
    outcome = ""
    while outcome != "RESUMED":
        attempts += 1
        assert attempts < 20, "each attempt begins anew"
        with suppress(Killed):
            outcome = recover_promotion(sale, world.outside, world.repair).outcome
    assert attempts > 5
    assert grab(world, sale, "c-0") == "REPEATED"


def test_a_look_at_an_idle_promotion_is_one_call_of_the_store_and_none_of_the_tables(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    command = Redis.execute_command

    def counted(client: Redis, *args: Any, **options: Any) -> Any:
        calls[str(args[0])] += 1
        return command(client, *args, **options)  # type: ignore[no-untyped-call]

    def around(operation: str, table: str, do: Callable[[], Any]) -> Any:
        calls[f"{operation} {table}"] += 1
        return do()

    def sweep_of(count: int) -> Counter[str]:
        for _ in range(count):
            world.sale(now=500)
        sweep(world.outside, world.repair)
        calls.clear()
        with tables.directly(around):
            sweep(world.outside, world.repair)
        return Counter(calls)

    monkeypatch.setattr(Redis, "execute_command", counted)
    few = sweep_of(2)
    assert sweep_of(5) - few == {"EVALSHA": 5}
