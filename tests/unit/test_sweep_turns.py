"""Turns of the sweep and of the timers: thousands are live, and none of them waits for ever."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from threading import Barrier, BrokenBarrierError, Event
from typing import Any, cast

import pytest
from botocore.exceptions import ReadTimeoutError
from pynamodb.exceptions import PutError, QueryError
from redis import Redis

from chalicelib import clients, config, journal, timers
from chalicelib.commands import outbox, sweep, wake
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.promotions import PromotionRow, live_promotions
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.door import for_operators
from chalicelib.events import GENERATION, AnyEvent, CouponExtended, parse
from chalicelib.publisher import BrokerUnavailable
from chalicelib.tables import refused_by_condition
from chalicelib.timers import DOUBT, Timer
from tests.unit.conftest import Broker, metrics
from tests.unit.test_recover import grab, journal_all, wipe
from tests.unit.test_sweep import HOUR_MS, live

__all__ = ["live"]
Live = Callable[..., str]
MANY = 12


class Killed(BaseException):
    """What ends the process: a time limit, or no memory left."""


@pytest.fixture(autouse=True)
def _own_turns(store: Redis) -> Iterator[None]:
    """Turns are kept in the store, which tests share."""
    turns = ("seckill:sweep:looks", "seckill:sweep:work")
    places = (f"seckill:recovering:{n}" for n in range(wake.RECOVERIES_AT_ONCE))
    keys = [*turns, *places]
    for key in keys:
        store.delete(key)
    yield
    for key in keys:
        store.delete(key)


@contextmanager
def calls_of(store: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The commands that are sent to the store and the operations that are asked of tables."""
    calls: list[str] = []
    execute: Any = Redis.execute_command

    def counted(client: Redis, *args: Any, **options: Any) -> Any:
        calls.append(str(args[0]))
        return execute(client, *args, **options)

    def asked(model: Any, **_: Any) -> None:
        calls.append(model.name)

    table: Any = PromotionRow
    client = table._get_connection().connection.client  # noqa: SLF001 - its own client
    client.meta.events.register("before-call.dynamodb", asked)
    with monkeypatch.context() as patched:
        patched.setattr(Redis, "execute_command", counted)
        yield calls
    client.meta.events.unregister("before-call.dynamodb", asked)


def sales(live: Live, count: int = MANY) -> list[str]:
    """Promotions in the order in which they end."""
    return [live(HOUR_MS, 2 * HOUR_MS + n) for n in range(count)]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom the first pass has looked at; three at once."""
    seen: list[str] = []
    look = sweep._look_at  # noqa: SLF001

    def noted(row: PromotionRow, outside: Outside) -> Any:
        seen.append(row.promotion_id)
        return look(row, outside)

    monkeypatch.setattr(sweep, "_look_at", noted)
    monkeypatch.setattr(sweep, "_LOOKED_AT_ONCE", 3)
    return seen


@pytest.fixture
def worked_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom the second pass has worked on; one at a time."""
    seen: list[str] = []
    work = sweep._sweep_one  # noqa: SLF001

    def noted(row: PromotionRow, *args: Any) -> None:
        seen.append(row.promotion_id)
        work(row, *args)

    monkeypatch.setattr(sweep, "_sweep_one", noted)
    monkeypatch.setattr(sweep, "_THREADS", 1)
    return seen


def test_an_idle_promotion_costs_one_call_of_the_store_and_none_of_the_tables(
    live: Live, store: Redis, outside: Outside, repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cost() -> tuple[int, int]:
        with calls_of(store, monkeypatch) as calls:
            assert sweep.sweep(outside, repair).failed == []
        tables = [call for call in calls if call in ("Query", "GetItem", "UpdateItem", "PutItem")]
        return len(calls) - len(tables), len(tables)

    sales(live, 2)
    cost()
    few = cost()
    sales(live, 40)
    cost()
    many = cost()
    assert many[0] - few[0] == 40
    assert many[1] == few[1] == 1, "the list of live promotions, a page"


def test_looks_that_run_out_of_time_go_on_behind_where_they_stopped(
    live: Live, outside: Outside, repair: Repair, looked_at: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sweep, "_LOOKS_S", 0.0)
    ids = sales(live)
    for _ in range(math.ceil(MANY / 3)):
        assert sweep.sweep(outside, repair).promotions == 3
    assert metrics(capsys.readouterr().out, "sweep_looks_unfinished")
    assert sorted(looked_at) == sorted(ids)


def test_a_row_that_disappears_takes_no_turn_along(
    live: Live, outside: Outside, repair: Repair, looked_at: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sweep, "_LOOKS_S", 0.0)
    ids = sales(live)
    sweep.sweep(outside, repair)
    PromotionRow(ids[2]).delete()  # where the first sweep has stopped
    for _ in range(math.ceil(MANY / 3) - 1):
        sweep.sweep(outside, repair)
    assert set(looked_at) == set(ids)


def test_a_list_that_breaks_off_is_gone_on_with_and_what_was_found_gets_its_work(
    live: Live, outside: Outside, repair: Repair, looked_at: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ids = [live(-2000, n) for n in range(MANY)]
    listed = live_promotions

    def broken(after: str = "") -> Iterator[PromotionRow]:
        yield from islice(listed(after), 6)
        raise QueryError

    monkeypatch.setattr(sweep, "live_promotions", broken)
    assert sweep.sweep(outside, repair).closed == 6
    monkeypatch.setattr(sweep, "live_promotions", listed)
    sweep.sweep(outside, repair)
    assert looked_at == ids


def test_a_promotion_that_kills_every_look_keeps_no_other_from_its_turn(
    live: Live, outside: Outside, repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sales(live)
    done: set[str] = set()
    dead = Event()

    def look(row: PromotionRow, _: Outside) -> Any:
        if row.promotion_id == ids[4]:
            dead.set()
        if dead.is_set():  # nor does any other thread of the process go on
            raise Killed
        done.add(row.promotion_id)
        return sweep._Look(row, None)  # noqa: SLF001

    monkeypatch.setattr(sweep, "_look_at", look)
    monkeypatch.setattr(sweep, "_LOOKED_AT_ONCE", 6)
    monkeypatch.setattr(sweep, "_THREADS", 1)
    for _ in range(3):
        dead.clear()
        with suppress(Killed):
            sweep.sweep(outside, repair)
    assert done == {*ids} - {ids[4]}


def test_work_that_runs_out_of_time_goes_on_with_those_that_wait_longest(
    live: Live, outside: Outside, repair: Repair, worked_on: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sweep, "_WORK_S", 0.0)
    ids = [live(-1, HOUR_MS + n) for n in range(MANY)]
    behind = []
    for _ in range(MANY):
        behind.append(sweep.sweep(outside, repair).behind)
        grab(worked_on[-1], "alice", outside)  # the sale goes on, and needs work again
    assert sorted(worked_on) == sorted(ids)
    assert behind[0] == MANY - 1


def test_a_promotion_that_kills_all_work_keeps_no_other_from_its_turn(
    live: Live, outside: Outside, repair: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [live(-1, HOUR_MS + n) for n in range(MANY)]
    done: set[str] = set()

    def work(row: PromotionRow, *_: Any) -> None:
        if row.promotion_id == ids[4]:
            raise Killed
        done.add(row.promotion_id)

    monkeypatch.setattr(sweep, "_sweep_one", work)
    monkeypatch.setattr(sweep, "_THREADS", 1)
    for _ in range(2):
        with suppress(Killed):
            sweep.sweep(outside, repair)
    assert done == {*ids} - {ids[4]}


def test_what_waits_for_work_and_is_gone_meanwhile_stops_nobody(
    live: Live, store: Redis, outside: Outside, repair: Repair
) -> None:
    store.zadd("seckill:sweep:work", {"gone": 1})
    sale = live(-2000, 0)
    swept = sweep.sweep(outside, repair)
    assert (swept.closed, swept.behind, swept.failed) == (1, 0, [])
    assert PromotionRow.get(sale).closed_as == "FINISHED"


def test_turns_do_not_stay_in_the_store_for_ever(
    live: Live, store: Redis, outside: Outside, repair: Repair, worked_on: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sweep, "_WORK_S", 0.0)
    for n in range(3):
        live(-1, HOUR_MS + n)
    sweep.sweep(outside, repair)
    assert len(worked_on) == 1
    for key in ("seckill:sweep:looks", "seckill:sweep:work"):
        assert store.ttl(key) > 0


def test_a_broker_that_is_away_is_asked_once_in_a_sweep(
    live: Live, broker: Broker, outside: Outside, repair: Repair
) -> None:
    asked: list[int] = []
    two_at_once = Barrier(2)

    class Away:
        """Another thread that asks has all the time to do so."""

        def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
            asked.append(len(events))
            with suppress(BrokenBarrierError):
                two_at_once.wait(timeout=0.2)
            message = "no answer"
            raise BrokerUnavailable(message)

    broker.away = True
    for _ in range(MANY):
        live(-2000, 0)
    sweep.sweep(replace(outside, publisher=Away()), repair)
    assert len(asked) == 1


def test_an_event_that_the_broker_refuses_keeps_no_other_waiting(
    live: Live, outside: Outside, repair: Repair
) -> None:
    taken: list[AnyEvent] = []

    class Picky:
        """It does not take alice's grab, and takes all others."""

        def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
            fine = [e for e in events if getattr(e, "customer_id", "") != "alice"]
            taken.extend(fine)
            return fine

    away = Broker(away=True)
    sale, other = live(stock=99), live(stock=99)
    for customer in ("alice", *(f"customer-{n}" for n in range(60))):
        for where in (sale, other):
            grab_coupon(GrabCoupon(where, customer), replace(outside, publisher=away))
    swept = sweep.sweep(replace(outside, publisher=Picky()), repair)
    assert swept.waiting == 2
    for where in (sale, other):
        assert outbox.waiting(where, outside.store, 100)[0].version == 2
        assert len({e.version for e in taken if e.promotion_id == where}) == 60


def test_two_hundred_overdue_holds_take_ten_in_each_call(
    sale_at: Callable[..., str], set_clock: Callable[[str, int], None], outside: Outside,
    broker: Broker, armed: list[Timer], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    sale = sale_at(stock=200, closes_at=99_000, hold_seconds=1)
    set_clock(sale, 1000)
    for n in range(200):
        grab_coupon(GrabCoupon(sale, f"c-{n}"), outside)
    set_clock(sale, 5000)
    published = len(broker.published)
    monkeypatch.setattr(sweep, "_ADVANCES_AT_ONCE", 3)
    armed.clear()
    sweep.advance_promotion(sale, outside)
    assert len(broker.published) - published == 30
    assert armed == [Timer(sale, 6000)]


def test_a_timer_that_is_due_soon_is_sent_once_more_in_case_it_got_lost(
    live: Live, outside: Outside, repair: Repair, armed: list[Timer]
) -> None:
    soon, later = live(60_000, HOUR_MS), live(600_000, HOUR_MS)
    due = {timer.promotion_id: timer for timer in armed}
    armed.clear()
    sweep.sweep(outside, repair)
    assert armed == [due[soon]]
    assert later in due


def test_recoveries_leave_places_to_the_timers_that_are_due(
    live: Live, store: Redis, outside: Outside, repair: Repair, armed: list[Timer]
) -> None:
    lost, due = live(-1, HOUR_MS), live(-2000, 0)
    wipe(store, lost)
    for number in range(wake.RECOVERIES_AT_ONCE):
        store.set(f"seckill:recovering:{number}", "another", ex=60)
    armed.clear()
    assert wake.wake_promotion(Timer(lost, DOUBT), outside, repair) == "QUEUED"
    assert wake.wake_promotion(Timer(lost, DOUBT), outside, repair) == "QUEUED"
    assert [timer.promotion_id for timer in armed] == [lost], "one timer however many wait"
    assert wake.wake_promotion(Timer(due, 1), outside, repair) == "FINISHED"
    store.delete("seckill:recovering:3")
    assert wake.wake_promotion(Timer(lost, DOUBT), outside, repair) in (
        "WAITING",
        "INSTALLED",
        "RECOVERED",
    )
    assert not store.exists("seckill:recovering:3"), "it gives its place back"
    assert store.get("seckill:recovering:2") == "another"


def test_what_waits_a_few_seconds_waits_in_the_queue_and_not_in_a_function(aws: None) -> None:
    sent: list[dict[str, Any]] = []
    clients.sqs().meta.events.register(
        "before-parameter-build.sqs.SendMessage", lambda params, **_: sent.append(params)
    )
    arm = timers.queue_timers(clients.sqs(), config.settings().timers_queue_url)
    arm(*timers.check_in("sale", 3))
    assert sent[-1]["DelaySeconds"] == 3
    assert timers.parse(sent[-1]["MessageBody"]).due_at == DOUBT


def test_a_recovery_that_waits_reads_no_journal(
    live: Live, store: Redis, broker: Broker, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = live(stock=5)
    grab(sale, "alice", outside)
    journal_all(broker)
    wipe(store, sale)
    read: list[str] = []
    real = journal.read

    def noted(promotion_id: str) -> Iterator[AnyEvent]:
        read.append(promotion_id)
        return real(promotion_id)

    monkeypatch.setattr(journal, "read", noted)
    waiting = Repair(lambda _: False, lambda _: None)
    assert recover_promotion(sale, outside, waiting).outcome == "WAITING"
    assert read == []
    assert recover_promotion(sale, outside, Repair(lambda _: True, lambda _: None)).replayed == 2
    assert read == [sale], "once"


def test_only_what_a_recovery_has_not_read_is_fetched_for_what_came_late(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=9)
    for name in ("alice", "bob", "carol"):
        grab(sale, name, outside)
    started, alice, bob, carol = broker.published
    for event in (started, alice, carol):
        journal.append(event)
    assert journal.read_late(sale) == []
    wipe(store, sale)
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert [event.type for event in journal.read_late(sale)] == ["PromotionRecovered"]
    journal.append(bob)
    assert [event.version for event in journal.read_late(sale)][:-1] == [bob.version]
    assert bob.version == 3


def extended(sale: str, version: int) -> CouponExtended:
    text = (
        f'{{"type":"CouponExtended","promotionId":"{sale}","version":{version},"at":1,"stock":9,'
        f'"available":0,"held":9,"sold":0,"customerId":"c","number":1,"discount":"0.5","grabbedAt":1}}'
    )
    return cast("CouponExtended", parse(text))


def test_all_decisions_of_a_recovery_are_journaled_the_last_one_last(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = [extended("sale", GENERATION + n) for n in range(1, 301)]
    put: list[int] = []
    real = journal.put

    def noted(event: AnyEvent) -> bool:
        put.append(event.version)
        return real(event)

    monkeypatch.setattr(journal, "put", noted)
    assert journal.put_all(decided)
    assert [event.version for event in journal.read("sale")] == [e.version for e in decided]
    assert (put[0], put[-1]) == (decided[0].version, decided[-1].version)
    assert journal.put_all(decided), "it finds what it has put"


def test_a_recovery_whose_first_version_is_taken_puts_nothing_else(aws: None) -> None:
    decided = [extended("sale", GENERATION + n) for n in range(1, 30)]
    other = replace(decided[0], customer_id="another")
    assert journal.put(other)
    assert not journal.put_all(decided)
    assert [event.version for event in journal.read("sale")] == [other.version]


def test_a_table_that_does_not_answer_in_time_is_an_outage_and_no_refusal() -> None:
    cause = ReadTimeoutError(endpoint_url="http://table")
    assert not refused_by_condition(PutError("timed out", cause))


def test_the_functions_for_all_promotions_say_where_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(for_operators, "EVERY_ONE_S", -1.0)
    every = ["c", "a", "b"]
    first = for_operators.each_promotion({"repair": True}, lambda: every, str.upper)
    assert first == {"unfinished": {"repair": True, "after": ""}}
    monkeypatch.setattr(for_operators, "EVERY_ONE_S", 60.0)
    event = {"repair": True, "after": "a"}
    assert for_operators.each_promotion(event, lambda: every, str.upper) == {"b": "B", "c": "C"}
