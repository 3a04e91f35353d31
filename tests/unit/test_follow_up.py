"""What has to follow a recovery or a sweep, and what a fold must not forget on the way."""

import json
from collections.abc import Sequence
from dataclasses import replace
from threading import Barrier

import pytest

from chalicelib import config, journal
from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.fold import fold, fold_in
from chalicelib.commands.promotions import PromotionRow
from chalicelib.commands.reconcile import audit, reconcile
from chalicelib.commands.recover import bring_back, recover_promotion
from chalicelib.commands.sweep import sweep
from chalicelib.events import AnyEvent, CouponEvent, CouponPaid, parse
from chalicelib.projections.coupons import CouponRow
from chalicelib.publisher import EventPublisher
from chalicelib.timers import EARLY_MS, Timer
from chalicelib.wiring import read_tables
from tests.unit.acts import fail_over, go_back, grab, let_go_of, pay, restock, snapshot, wipe
from tests.unit.conftest import state_of
from tests.unit.world import Killed, World, world

__all__ = ["world"]


@pytest.fixture
def let_go(world: World) -> str:
    return let_go_of(world)


def test_all_that_waited_behind_a_fence_is_published_when_it_is_down(world: World) -> None:
    sale = world.sale(stock=50)
    for n in range(25):  # more than an answer takes along
        scripts.run(world.store, "grab", sale, f"c-{n}", f"key-{n}", 0)
    fail_over(world, sale)
    assert recover_promotion(sale, world.outside, world.repair).outcome == "RESUMED"
    assert len([parse(body) for body in world.queues.events]) >= 25
    assert world.store.xlen(scripts.key(sale, "outbox")) == 0


def test_a_sale_of_which_an_event_comes_late_is_watched_again(world: World, let_go: str) -> None:
    [grabbed] = [e for e in journal.read(let_go) if e.type == "CouponGrabbed"]
    assert isinstance(grabbed, CouponEvent)
    journal.append(replace(grabbed, customer_id="bob", number=2))
    assert recover_promotion(let_go, world.outside, world.repair).outcome == "RECOVERED"
    assert PromotionRow.get(let_go).live is not None


def test_a_sale_that_is_brought_back_is_watched_again(world: World, let_go: str) -> None:
    wipe(world, let_go)
    assert bring_back(let_go, world.outside, world.repair).outcome == "RECOVERED"
    assert PromotionRow.get(let_go).live is not None


def test_a_recovery_that_waits_does_so_in_the_queue(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_S", "5")
    config.settings.cache_clear()
    sale = world.sale()
    wipe(world, sale)
    armed: list[tuple[Timer, int]] = []
    outside = replace(world.outside, arm=lambda timer, now: armed.append((timer, now)))
    assert recover_promotion(sale, outside, world.repair).outcome == "WAITING"
    [(timer, now)] = armed
    assert timer.due_at - now - EARLY_MS == 1000, "what the queue delays it by"


def test_a_second_payment_is_refunded_once(world: World) -> None:
    sale = world.sale(stock=2, hold_seconds=600)
    grab(world, sale, "alice")
    pay(world, sale, 1, "alice", "visa-1")
    world.deliver()
    told = list(journal.read(sale))
    [paid] = [event for event in told if isinstance(event, CouponPaid)]
    second = replace(paid, version=8, payment_reference="visa-2")
    assert fold([*told, second]).second_payments == [second]
    refund = {**second.to_dict(), "type": "RefundRecorded", "version": 9, "reason": "ALREADY_PAID"}
    assert fold([*told, second, parse(json.dumps(refund))]).second_payments == []


def test_a_start_that_only_a_conflict_tells_is_the_start(world: World) -> None:
    sale = world.sale(stock=7)
    grab(world, sale, "alice")
    world.deliver()
    start, grabbed, *_ = journal.read(sale)
    folded = fold([grabbed])
    fold_in(folded, [start])
    assert (folded.base, folded.stock) == (start, 7)


def test_a_sweep_notes_what_it_has_checked(world: World) -> None:
    sale = world.sale()
    grab(world, sale, "alice")
    sweep(world.outside, world.repair)
    assert str(PromotionRow.get(sale).checked_version) == state_of(world.store, sale)["version"]


def test_the_end_of_a_sale_that_is_watched_still_is_in_its_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCH_S", "3600")
    config.settings.cache_clear()
    sale = world.sale(stock=1)
    scripts.run(world.store, "grab", sale, "alice", "alice-key", 0)
    sweep(world.outside, world.repair)
    row = PromotionRow.get(sale)
    assert (row.closed_as, row.live is not None) == ("SOLD_OUT", True)


def test_a_restock_that_only_the_row_has_counts_after_the_next_sweep(world: World) -> None:
    sale = world.sale(stock=1, now=500)
    then = snapshot(world, sale)
    assert restock(world, sale, 2, "monday") == "RESTOCKED"
    go_back(world, sale, then)
    sweep(world.outside, world.repair)
    assert state_of(world.store, sale)["available"] == "3"
    assert restock(world, sale, 2, "monday") == "REPEATED"


def test_a_sale_whose_audit_died_is_watched_again(world: World, let_go: str) -> None:
    world.settle()
    [row] = list(CouponRow.query("alice"))
    row.delete()

    def dies(_: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        reconcile(let_go, world.outside, replace(world.repair, rebuild=dies), read_tables)
    assert PromotionRow.get(let_go).live is not None


def test_an_audit_sees_a_start_that_waits_alone(world: World) -> None:
    world.queues.takes = 0
    sale = world.sale()
    found = audit(sale, world.outside, read_tables, 0) or []
    assert "OUTBOX_STUCK" in {difference.kind for difference in found}


def test_a_promotion_that_is_installed_from_its_row_knows_its_restocks(world: World) -> None:
    sale = world.sale(stock=1, now=500)
    assert restock(world, sale, 2, "monday") == "RESTOCKED"
    wipe(world, sale)
    install_promotion(PromotionRow.get(sale), world.outside)
    assert restock(world, sale, 2, "monday") == "REPEATED"


class Meeting:
    """A broker; after its first call, calls are answered in twos."""

    def __init__(self) -> None:
        self.calls = 0
        self.met = Barrier(2, timeout=10)

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        self.calls += 1
        if self.calls > 1:
            self.met.wait()
        return list(events)


def test_a_broker_that_answers_is_asked_by_several_at_once(world: World) -> None:
    for _ in range(3):
        scripts.run(world.store, "grab", world.sale(), "alice", "alice-key", 0)
    meeting = Meeting()
    publisher: EventPublisher = meeting
    swept = sweep(replace(world.outside, publisher=publisher), world.repair)
    assert (swept.failed, meeting.calls) == ([], 3)
