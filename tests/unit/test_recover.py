"""Recovery: the store is wiped, or goes back in time. Nobody is sold what is not there."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis, RedisCluster

from chalicelib import clients, config, journal
from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.fold import fold
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon, give_back_coupon, pay_coupon
from chalicelib.commands.promotions import find_promotion
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.commands.sweep import sweep
from chalicelib.events import GENERATION, CouponEvent, Event
from chalicelib.timers import Timer
from tests.unit.conftest import Broker, metrics, promotion_row, state_of
from tests.unit.test_sweep import live

pytestmark = pytest.mark.store

__all__ = ["live"]
Live = Callable[..., str]
PARTS = ("promotion", "customers", "holds")


def grab(sale: str, customer: str, outside: Outside, key: str | None = None) -> str:
    return grab_coupon(GrabCoupon(sale, customer, key), outside).outcome


def journal_all(broker: Broker) -> None:
    """What the journal's consumer does with what was published."""
    for event in broker.published:
        journal.append(event)


def wipe(store: Redis, sale: str) -> None:
    store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))


def memory(store: Redis, sale: str) -> dict[str, Any]:
    """All that the store knows of a promotion, but for what a recovery changes on purpose."""
    state = state_of(store, sale)
    for volatile in (
        "version",
        "timer_at",
        "fenced_at",
        "revision",
        "lifted",
        "edits",
    ):
        state.pop(volatile, None)
    for name in state:
        if name.startswith("restock:"):  # how many, and as of which version
            state[name] = state[name].split()[0]
    return {
        "promotion": state,
        "customers": store.hgetall(scripts.key(sale, "customers")),
        "holds": store.zrange(scripts.key(sale, "holds"), 0, -1, withscores=True),
    }


def snapshot(store: Redis, sale: str) -> dict[str, Any]:
    keys = [scripts.key(sale, part) for part in scripts.PARTS]
    return {key: store.dump(key) for key in keys if store.exists(key)}


def go_back(store: Redis, sale: str, then: dict[str, Any]) -> None:
    """What a fail-over to a replica that lagged behind does."""
    wipe(store, sale)
    for key, dump in then.items():
        store.restore(key, 0, dump)


@pytest.fixture
def binary_store(store_url: str, in_cluster: bool) -> Iterator[Redis]:  # noqa: FBT001
    client: Any = RedisCluster.from_url(store_url) if in_cluster else Redis.from_url(store_url)
    yield client
    client.close()


def test_a_wiped_sale_gets_back_all_that_it_knew(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    chance = random.Random(7)
    for hold_s, limit in ((0, 1), (600, 1), (600, 3), (0, 3)):
        sale = live(stock=40, hold_seconds=hold_s, coupons_per_customer=limit)
        for _ in range(80):
            name, number = f"c-{chance.randrange(25)}", chance.randrange(1, 40)
            move = chance.randrange(5)
            if move <= 2:
                grab(sale, name, outside, f"{name}-{chance.randrange(5)}")
            elif move == 3:
                pay_coupon(PayCoupon(sale, number, name, f"r-{number}-"), outside)
            else:
                give_back_coupon(GiveBackCoupon(sale, number, name), outside)
        decide(outside, "restock", sale, 3, "monday", 100)
        journal_all(broker)
        before = memory(store, sale)
        wipe(store, sale)
        assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
        assert memory(store, sale) == before
        assert store.ttl(scripts.key(sale, "promotion")) == -1


def test_a_recovered_sale_sells_exactly_what_was_left(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=10)
    assert [grab(sale, f"early-{n}", outside) for n in range(4)] == ["GRANTED"] * 4
    journal_all(broker)
    wipe(store, sale)
    assert grab(sale, "late-0", outside) == "UNKNOWN"
    recover_promotion(sale, outside, repair)
    assert grab(sale, "early-2", outside) == "REPEATED"
    answers = [grab(sale, f"late-{n}", outside) for n in range(8)]
    assert answers == ["GRANTED"] * 6 + ["SOLD_OUT"] * 2
    journal_all(broker)
    events = [event for event in journal.read(sale) if isinstance(event, Event)]
    assert [event.version for event in events] == [
        *range(1, 6), *range(GENERATION + 1, GENERATION + 9),
    ]  # fmt: skip
    assert events[5].type == "PromotionRecovered"
    assert len(fold(events).active) == 10


def test_it_waits_for_events_that_are_on_their_way(
    live: Live, store: Redis, broker: Broker, outside: Outside, armed: list[Timer]
) -> None:
    sale = live(stock=10)
    for n in range(4):
        grab(sale, f"early-{n}", outside)
    wipe(store, sale)
    armed.clear()
    waiting = recover_promotion(sale, outside, Repair(lambda _: False, lambda _: None))
    assert (waiting.outcome, waiting.detail) == ("WAITING", "events on their way to the journal")
    assert recover_promotion(sale, outside, Repair(lambda _: False, lambda _: None)) == waiting
    assert [timer.promotion_id for timer in armed] == [sale], "one timer however many look"
    assert grab(sale, "late", outside) == "UNKNOWN"
    journal_all(broker)
    assert recover_promotion(sale, outside, Repair(lambda _: True, lambda _: None)).replayed == 5
    assert state_of(store, sale)["available"] == "6"


def test_it_tells_the_barrier_how_long_it_has_waited(
    live: Live, store: Redis, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since nothing could be sent any more: after the functions' time, not after the fence."""
    sale = live()
    wipe(store, sale)
    waited: list[float] = []

    def never(seconds: float) -> bool:
        waited.append(seconds)
        return False

    monkeypatch.setenv("SETTLE_S", "60")
    config.settings.cache_clear()
    barrier = Repair(never, lambda _: None)
    fenced_at = clients.store_clock_ms()
    recover_promotion(sale, outside, barrier)
    assert waited == []
    store.hincrby(scripts.key(sale, "promotion"), "fenced_at", -100_000)
    recover_promotion(sale, outside, barrier)
    [waited_s] = waited
    assert 40 <= waited_s <= 40 + (clients.store_clock_ms() - fenced_at) / 1000


def test_it_waits_for_functions_that_may_still_be_publishing(
    live: Live, store: Redis, outside: Outside, repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = live()
    wipe(store, sale)
    monkeypatch.setenv("SETTLE_S", "60")
    config.settings.cache_clear()
    waiting = recover_promotion(sale, outside, repair)
    assert waiting.detail == "functions that decided before the fence"


@pytest.mark.parametrize(
    ("script", "args"),
    [("grab", ("a", "k")), ("pay", ("a", 1, "*")), ("give_back", ("a", 1)), ("advance", ()),
     ("restock", (1, "k", 9)), ("cancel", ()), ("edit", ("stock", 1)), ("retire", (1,))],
)  # fmt: skip
def test_behind_the_fence_nobody_decides_anything(
    live: Live, store: Redis, outside: Outside, script: str, args: tuple[Any, ...]
) -> None:
    sale = live(stock=1)
    grab(sale, "alice", outside)
    then = state_of(store, sale)
    assert scripts.run(store, "fence", sale, 10**9, "token").outcome == "FENCED"
    assert decide(outside, script, sale, *args).outcome == "UNKNOWN"
    assert state_of(store, sale)["version"] == then["version"]


def test_a_fence_around_a_state_is_not_installed_over(
    live: Live, store: Redis, outside: Outside
) -> None:
    sale = live()
    scripts.run(store, "fence", sale, GENERATION, "token", "")
    reply = decide(outside, "install", sale, "stock", 1).reply
    assert (reply.outcome, reply.detail["state"]) == ("EXISTS", "RECOVERING")
    assert state_of(store, sale)["stock"] == "2"


def test_a_fence_around_nothing_does_not_stop_a_creation(
    live: Live, store: Redis, outside: Outside
) -> None:
    sale = live(installed=False)
    scripts.run(store, "fence", sale, 0, "token", "")
    row = find_promotion(sale)
    assert row is not None
    assert install_promotion(row, outside) == "ON_SALE"
    assert grab(sale, "alice", outside) == "GRANTED"


def test_what_waits_in_the_outbox_is_merged(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=10)
    journal_all(broker)
    broker.away = True
    for n in range(3):
        grab(sale, f"early-{n}", outside)
    broker.away = False
    store.delete(scripts.key(sale, "promotion"), scripts.key(sale, "customers"))
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert state_of(store, sale)["available"] == "7"
    assert [e.type for e in broker.published].count("CouponGrabbed") == 3
    assert grab(sale, "early-1", outside) == "REPEATED"


def test_with_the_broker_away_the_journal_is_told_directly(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=10)
    journal_all(broker)
    broker.away = True
    told = replace(outside, keep=lambda event: bool(journal.append(event)))
    assert grab(sale, "alice", told) == "GRANTED"
    wipe(store, sale)
    broker.away = False
    recover_promotion(sale, outside, repair)
    assert grab(sale, "alice", outside) == "REPEATED"
    assert state_of(store, sale)["available"] == "9"


def test_of_several_recoveries_at_once_one_installs_and_none_does_harm(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    for _ in range(5):
        sale = live(stock=30)
        for n in range(10):
            grab(sale, f"early-{n}", outside)
        journal_all(broker)
        before = memory(store, sale)
        wipe(store, sale)
        with ThreadPoolExecutor(6) as pool:
            outcomes = list(
                pool.map(lambda _, sale=sale: recover_promotion(sale, outside, repair), range(6))
            )
        words = sorted({recovery.outcome for recovery in outcomes})
        assert sum(r.outcome == "RECOVERED" for r in outcomes) == 1, words
        assert memory(store, sale) == before
        assert len(list(store.scan_iter(match=f"*{sale}*"))) <= 4


def test_a_healthy_sale_under_traffic_is_left_alone(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale, journaled = live(stock=200), 0
    with ThreadPoolExecutor(8) as pool:
        grabs = [pool.submit(grab, sale, f"c-{n}", outside) for n in range(150)]
        for _ in range(30):
            published = broker.published[journaled:]
            for event in published:
                journal.append(event)
            journaled += len(published)
            assert recover_promotion(sale, outside, repair).outcome == "HEALTHY"
        assert {future.result() for future in grabs} == {"GRANTED"}
    assert state_of(store, sale)["version"] == "151"


def test_a_store_that_went_back_in_time_is_noticed_before_it_sells(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair, binary_store: Redis
) -> None:
    sale = live(stock=10)
    for n in range(4):
        grab(sale, f"early-{n}", outside)
    then = snapshot(binary_store, sale)
    for n in range(4, 7):
        grab(sale, f"early-{n}", outside)
    journal_all(broker)
    go_back(binary_store, sale, then)
    recovery = recover_promotion(sale, outside, repair)
    assert (recovery.outcome, recovery.detail) == ("RECOVERED", "WRITES_LOST")
    assert state_of(store, sale)["available"] == "3"
    assert {grab(sale, f"early-{n}", outside) for n in range(7)} == {"REPEATED"}


@pytest.mark.parametrize("after", [2, 5, 20])
def test_a_store_that_sold_on_after_going_back_never_sells_too_much(
    live: Live, broker: Broker, outside: Outside, repair: Repair, binary_store: Redis,
    after: int, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Ten units; six told yes, three of them forgotten; others told yes under the same versions."""
    sale = live(stock=10)
    for n in range(3):
        grab(sale, f"early-{n}", outside)
    then = snapshot(binary_store, sale)
    for n in range(3, 6):
        grab(sale, f"early-{n}", outside)
    journal_all(broker)
    go_back(binary_store, sale, then)
    told = [f"late-{n}" for n in range(after) if grab(sale, f"late-{n}", outside) == "GRANTED"]
    journal_all(broker)
    assert metrics(capsys.readouterr().out, "recoveries") == []
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    journal_all(broker)

    folded = fold(journal.read(sale))
    assert len(folded.active) <= folded.stock == 10
    numbers = [coupon.number for coupon in folded.active]
    assert len(numbers) == len(set(numbers))
    records: dict[str, set[str]] = {}
    for coupon in folded.coupons.values():
        records.setdefault(coupon.customer_id, set()).add(coupon.state)
    for customer in [*(f"early-{n}" for n in range(6)), *told]:
        assert records[customer] & {"GRABBED", "REVOKED"}, customer
    served = sum("GRABBED" in states for states in records.values())
    assert served == min(10, 6 + len(told))
    assert {grab(sale, f"early-{n}", outside) for n in range(6)} == {"REPEATED"}
    assert recover_promotion(sale, outside, repair).outcome == "HEALTHY"


def test_money_that_moved_is_never_forgotten(
    live: Live, broker: Broker, outside: Outside, repair: Repair, binary_store: Redis
) -> None:
    """Paid before and after going back: both are sold, or refunded on record."""
    sale = live(stock=2, hold_seconds=600)
    then = snapshot(binary_store, sale)
    for name in ("alice", "bob"):
        grab(sale, name, outside)
    assert pay_coupon(PayCoupon(sale, 1, "alice", "r1"), outside).outcome == "PAID"
    journal_all(broker)
    go_back(binary_store, sale, then)
    for number, name in ((1, "carol"), (2, "dave")):
        assert grab(sale, name, outside) == "GRANTED"
        assert pay_coupon(PayCoupon(sale, number, name, f"r-{name}"), outside).outcome == "PAID"
    journal_all(broker)
    recover_promotion(sale, outside, repair)
    journal_all(broker)
    folded = fold(journal.read(sale))
    assert len(folded.active) <= 2
    states: dict[str, set[str]] = {}
    for coupon in folded.coupons.values():
        states.setdefault(coupon.customer_id, set()).add(coupon.state)
    for name in ("alice", "carol", "dave"):
        assert states[name] & {"PAID", "REFUND_DUE"}, (name, states)
    assert states["bob"] & {"GRABBED", "REVOKED"}


def test_a_number_of_two_customers_whom_the_journal_both_knows_is_given_anew(
    live: Live, broker: Broker, outside: Outside, repair: Repair, binary_store: Redis
) -> None:
    """The second one's grab was a conflict, and the payment after it was not."""
    sale = live(stock=9, hold_seconds=600)
    then = snapshot(binary_store, sale)
    grab(sale, "alice", outside)
    journal_all(broker)
    go_back(binary_store, sale, then)
    grab(sale, "bob", outside)
    assert pay_coupon(PayCoupon(sale, 1, "bob", "r"), outside).outcome == "PAID"
    journal_all(broker)
    assert fold(journal.read(sale)).coupons.keys() == {("alice", 1), ("bob", 1)}
    recover_promotion(sale, outside, repair)
    journal_all(broker)
    active = fold(journal.read(sale)).active
    assert {(coupon.customer_id, coupon.state) for coupon in active} == {
        ("alice", "GRABBED"), ("bob", "PAID"),
    }  # fmt: skip
    assert len({coupon.number for coupon in active}) == 2


def test_a_payment_for_what_was_revoked_is_a_refund(
    live: Live, broker: Broker, outside: Outside, repair: Repair, binary_store: Redis
) -> None:
    sale = live(stock=1, hold_seconds=600)
    then = snapshot(binary_store, sale)
    grab(sale, "alice", outside)
    journal_all(broker)
    go_back(binary_store, sale, then)
    grab(sale, "bob", outside)
    journal_all(broker)
    recover_promotion(sale, outside, repair)
    outcomes = {  # who keeps it is the recovery's to say
        name: pay_coupon(PayCoupon(sale, 1, name, "r"), outside).outcome
        for name in ("alice", "bob")
    }
    assert sorted(outcomes.values()) == ["PAID", "REVOKED"]
    assert give_back_coupon(GiveBackCoupon(sale, 1, "bob"), outside).outcome == "REFUND_DUE"


def test_a_sale_that_was_over_stays_over(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=1)
    grab(sale, "alice", outside)
    journal_all(broker)
    wipe(store, sale)
    recover_promotion(sale, outside, repair)
    assert (grab(sale, "bob", outside), grab(sale, "alice", outside)) == ("SOLD_OUT", "REPEATED")


def test_keys_of_grabs_and_restocks_survive(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=5, coupons_per_customer=3)
    assert grab(sale, "alice", outside, f"key-{sale}") == "GRANTED"
    assert decide(outside, "restock", sale, 2, "monday", 100).outcome == "RESTOCKED"
    journal_all(broker)
    wipe(store, sale)
    recover_promotion(sale, outside, repair)
    assert decide(outside, "grab", sale, "alice", f"key-{sale}").outcome == "REPEATED"
    assert decide(outside, "restock", sale, 2, "monday", 100).outcome == "REPEATED"
    assert state_of(store, sale)["stock"] == "7"


def test_the_sweep_finds_and_recovers_by_itself(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=5)
    grab(sale, "alice", outside)
    journal_all(broker)
    wipe(store, sale)
    sweep(outside, repair)
    assert grab(sale, "alice", outside) == "REPEATED"


def test_a_recovery_that_was_interrupted_is_finished_by_the_next(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=5)
    grab(sale, "alice", outside)
    journal_all(broker)
    before = memory(store, sale)
    wipe(store, sale)

    def dies(_: float) -> bool:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        recover_promotion(sale, outside, Repair(dies, lambda _: None))
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert memory(store, sale) == before


def test_versions_that_nobody_can_find_are_counted_and_their_units_sold(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    sale = live(stock=5)
    for n in range(3):
        grab(sale, f"c-{n}", outside)
    for event in broker.published:
        if not (isinstance(event, CouponEvent) and event.customer_id == "c-1"):
            journal.append(event)
    wipe(store, sale)
    recover_promotion(sale, outside, repair)
    assert metrics(capsys.readouterr().out, "events_lost")[0]["events_lost"] == [1.0]
    assert state_of(store, sale)["available"] == "3"


def test_a_promotion_without_events_is_installed_from_the_table(
    live: Live, store: Redis, outside: Outside, repair: Repair
) -> None:
    sale = live(opens_in_ms=3_600_000, closes_in_ms=7_200_000, installed=False)
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    state = state_of(store, sale)
    assert (state["state"], state["available"]) == ("SCHEDULED", "2")
    assert clients.store_clock_ms() < int(state["opens_at"])


def test_what_nobody_created_is_not_recovered(outside: Outside, repair: Repair, aws: None) -> None:
    row = promotion_row(1, 0, 1)
    assert recover_promotion(row.promotion_id, outside, repair).outcome == "UNKNOWN_PROMOTION"
