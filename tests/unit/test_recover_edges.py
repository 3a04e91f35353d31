"""What a recovery must keep besides stock and coupons; and the fold that it rests on."""

from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from chalicelib import config, journal
from chalicelib.commands import scripts
from chalicelib.commands.amends import make_amends
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.edit_promotion import RestockPromotion, cancel_promotion, restock_promotion
from chalicelib.commands.fold import Folded, fold, fold_in
from chalicelib.commands.pay import PayCoupon, pay_coupon
from chalicelib.commands.promotions import close_promotion, note_end
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.events import (
    GENERATION,
    CouponEvent,
    Event,
    PromotionEnded,
    PromotionFinished,
    PromotionRestocked,
)
from tests.unit.conftest import Broker, state_of
from tests.unit.test_recover import Live, grab, journal_all, live, wipe

pytestmark = pytest.mark.store

__all__ = ["live"]
SHARED = ("promotion_id", "version", "at", "stock", "available", "held", "sold")


def test_what_is_over_and_let_go_of_is_not_recovered(
    live: Live, store: Redis, outside: Outside, repair: Repair
) -> None:
    sale = live()
    close_promotion(sale, "FINISHED")
    wipe(store, sale)
    assert recover_promotion(sale, outside, repair).outcome == "OVER"
    assert state_of(store, sale) == {}


def test_what_an_interrupted_recovery_has_built_goes_away_and_its_decisions_are_kept(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(hold_seconds=60)
    grab(sale, "alice", outside)
    journal_all(broker)
    wipe(store, sale)
    real = scripts.script

    def dies(store: Redis, name: str) -> Any:
        if name == "recover":
            raise ConnectionResetError
        return real(store, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "script", dies)
        with pytest.raises(ConnectionResetError):
            recover_promotion(sale, outside, repair)
    built = set(store.scan_iter(match=f"seckill:{{{sale}}}:*:*"))
    assert len(built) == 4
    assert all(0 < store.ttl(key) <= 3600 for key in built)
    decided = list(journal.read(sale))
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert list(journal.read(sale)) == decided
    assert state_of(store, sale)["version"] == str(decided[-1].version)
    assert grab(sale, "alice", outside) == "REPEATED"


def test_a_cancellation_that_only_the_table_knows_stays(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live()
    journal_all(broker)
    assert cancel_promotion(sale, outside) == "CANCELLED"  # and its event is lost
    wipe(store, sale)
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert grab(sale, "alice", outside) == "CANCELLED"


def test_the_read_tables_are_rebuilt_after_a_recovery_and_only_then(
    live: Live, store: Redis, broker: Broker, outside: Outside
) -> None:
    rebuilt: list[str] = []
    repair = Repair(lambda _: True, rebuilt.append)
    sale = live()
    journal_all(broker)
    store.hset(scripts.key(sale, "promotion"), "history", "of another server")
    assert recover_promotion(sale, outside, repair).outcome == "RESUMED"
    assert rebuilt == []
    wipe(store, sale)
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert rebuilt == [sale]


def test_a_number_is_never_given_again(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=3, hold_seconds=600)
    for name in ("alice", "bob"):
        grab(sale, name, outside)
    decide(outside, "give_back", sale, "bob", 2)
    journal_all(broker)
    wipe(store, sale)
    recover_promotion(sale, outside, repair)
    assert decide(outside, "grab", sale, "carol", "key").reply.detail["number"] == 3


def test_how_long_it_has_been_over_survives(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Else the sweep would let go of it at once, with the store perhaps going back once more."""
    sale = live(stock=1)
    grab(sale, "alice", outside)
    journal_all(broker)
    closed_at = state_of(store, sale)["closed_at"]
    wipe(store, sale)
    recover_promotion(sale, outside, repair)
    assert state_of(store, sale)["closed_at"] == closed_at
    monkeypatch.setenv("WATCH_S", "3600")
    config.settings.cache_clear()
    assert scripts.run(store, "retire", sale, 3_600_000).outcome == "BUSY"


@pytest.fixture
def told(live: Live, broker: Broker, outside: Outside) -> list[Event]:
    """Start, alice's grab, her payment, a restock, the end."""
    sale = live(stock=5, hold_seconds=600)
    grab(sale, "alice", outside)
    pay_coupon(PayCoupon(sale, 1, "alice", "visa"), outside)
    restock_promotion(RestockPromotion(sale, 3, "monday"), outside)
    cancel_promotion(sale, outside)
    return [event for event in broker.published if isinstance(event, Event)]


def test_time_that_an_interrupted_recovery_gave_back_is_not_given_back_again(
    live: Live, broker: Broker, outside: Outside
) -> None:
    sale = live(stock=5, hold_seconds=600)
    grab(sale, "alice", outside)
    at = broker.published[-1].at
    folded = fold(broker.published)
    [extended] = make_amends(folded, set(), at + 1000, at + 4000)
    written = replace(extended, version=GENERATION + 1, at=at + 4000)
    folded = fold([*broker.published, written])
    assert make_amends(folded, set(), at + 1000, at + 4900) == []
    [again] = make_amends(folded, set(), at + 1000, at + 9000)
    assert (again.deadline or 0) - (written.deadline or 0) == 5000


def counted(folded: Folded) -> tuple[int, int, int]:
    return folded.stock, folded.held, folded.sold


def test_a_restock_told_twice_is_one(told: list[Event]) -> None:
    [restock] = [event for event in told if isinstance(event, PromotionRestocked)]
    assert counted(fold([*told, replace(restock, version=99)])) == counted(fold(told)) == (8, 0, 1)
    folded = fold(told)
    fold_in(folded, [replace(restock, version=98, request_key="tuesday")])
    assert folded.stock == 11


def test_money_outweighs_a_later_version_and_that_is_noted(told: list[Event]) -> None:
    """A store that went back grants the same coupon again, under a version behind the payment."""
    [grabbed, paid] = [event for event in told if isinstance(event, CouponEvent)]
    folded = fold([*told, replace(grabbed, version=99)])
    assert folded.coupons["alice", 1] == paid
    assert folded.overruled == {("alice", 1)}
    assert fold(told).overruled == set()


def test_a_recovery_is_a_new_revision_also_where_the_table_is_behind(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=5)
    for key in ("monday", "tuesday"):
        decide(outside, "restock", sale, 3, key, 100)  # and the table does not follow
    journal_all(broker)
    before = int(state_of(store, sale)["revision"])
    wipe(store, sale)
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert int(state_of(store, sale)["revision"]) > before


def test_a_cancellation_stands_above_an_end_of_another_story(told: list[Event]) -> None:
    [cancelled] = [event for event in told if isinstance(event, PromotionEnded)]
    shared = {name: getattr(cancelled, name) for name in SHARED}
    finished = PromotionFinished(**shared | {"version": 99}, reason="FINISHED")
    assert fold([*told, finished]).state == "CANCELLED"


def test_a_cancellation_that_only_the_table_knows_stands_above_the_end_of_another_story(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=1)
    grab(sale, "alice", outside)
    journal_all(broker)
    note_end(sale, "CANCELLED")
    wipe(store, sale)
    assert recover_promotion(sale, outside, repair).outcome == "RECOVERED"
    assert state_of(store, sale)["state"] == "CANCELLED"


def test_an_end_that_only_a_conflict_tells_is_an_end(told: list[Event]) -> None:
    ended = [event for event in told if isinstance(event, PromotionEnded)]
    folded = fold(event for event in told if event not in ended)
    assert folded.closed_as is None
    fold_in(folded, ended)
    assert (folded.state, folded.closed_at) == ("CANCELLED", ended[0].at)


def test_the_journal_keeps_a_conflict_until_a_recovery_has_settled_it(told: list[Event]) -> None:
    other = replace(told[1], at=told[1].at + 1)
    assert [journal.append(event) for event in (told[1], told[1], other)] == [
        "APPENDED", "REPEATED", "CONFLICT",
    ]  # fmt: skip
    rows = journal.conflicts(other.promotion_id)
    assert len(rows) == 1
    journal.settle(rows)
    assert journal.conflicts(other.promotion_id) == []


def test_what_only_a_conflict_told_is_told_again(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    """Else the read tables, and a rebuild, would never hear of it."""
    sale = live(stock=5)
    grab(sale, "alice", outside)
    journal_all(broker)
    [hers] = [event for event in broker.published if isinstance(event, CouponEvent)]
    journal.append(replace(hers, customer_id="bob", grabbed_at=hers.grabbed_at + 1))
    broker.published.clear()
    recover_promotion(sale, outside, repair)
    journal_all(broker)
    told = {(e.customer_id, e.state) for e in broker.published if isinstance(e, CouponEvent)}
    assert ("bob", "GRABBED") in told
    kept = fold(journal.read(sale)).active
    assert {coupon.customer_id for coupon in kept} == {"alice", "bob"}
    assert len({coupon.number for coupon in kept}) == 2


def test_what_money_has_overruled_is_told_again(
    live: Live, broker: Broker, outside: Outside, repair: Repair
) -> None:
    """The newest event of the coupon says grabbed, and it is paid."""
    sale = live(stock=5, hold_seconds=600)
    grab(sale, "alice", outside)
    grabbed = broker.published[-1]
    pay_coupon(PayCoupon(sale, 1, "alice", "visa"), outside)
    journal_all(broker)
    again = replace(grabbed, version=9)
    journal.append(again)
    broker.published.clear()
    recover_promotion(sale, outside, repair, doubted=True)
    [told] = [event for event in broker.published if isinstance(event, CouponEvent)]
    assert (told.customer_id, told.state) == ("alice", "PAID")


def test_two_stories_do_not_give_a_customer_more_than_the_limit(
    live: Live, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=5, hold_seconds=600)
    grab(sale, "alice", outside)
    journal_all(broker)
    [first] = [event for event in broker.published if isinstance(event, CouponEvent)]
    journal.append(replace(first, number=2, grabbed_at=first.grabbed_at + 1))
    recover_promotion(sale, outside, repair)
    journal_all(broker)
    folded = fold(journal.read(sale))
    assert [(coupon.customer_id, coupon.number) for coupon in folded.active] == [("alice", 1)]
    assert folded.coupons["alice", 2].state == "REVOKED"


def test_given_back_is_not_expired_after_a_recovery(
    live: Live, store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(stock=1, hold_seconds=600)
    grab(sale, "alice", outside)
    decide(outside, "give_back", sale, "alice", 1)
    grab(sale, "bob", outside)
    journal_all(broker)
    wipe(store, sale)
    recover_promotion(sale, outside, repair)
    late = pay_coupon(PayCoupon(sale, 1, "alice", "late"), outside)
    assert late.outcome == "COUPON_RELEASED"
