"""Reconciliation: nothing on a healthy sale; each difference by its kind; mended on request."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from chalicelib import journal
from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.pay import PayCoupon, pay_coupon
from chalicelib.commands.promotions import close_promotion
from chalicelib.commands.reconcile import audit, reconcile
from chalicelib.commands.recover import Repair
from chalicelib.events import from_mapping, to_entry
from chalicelib.projections import active_promotions, coupons
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.projections.rebuild import rebuild
from chalicelib.wiring import read_tables
from tests.unit.conftest import Broker, state_of
from tests.unit.test_sweep import live

pytestmark = pytest.mark.store

__all__ = ["live"]


@pytest.fixture
def sale(live: Callable[..., str], outside: Outside, broker: Broker) -> str:
    """A sale with three grabs, one of them paid, all projected."""
    made = live(stock=9, hold_seconds=600)
    for n in range(3):
        grab_coupon(GrabCoupon(made, f"c-{n}"), outside)
    pay_coupon(PayCoupon(made, 1, "c-0", "r1"), outside)
    project(broker)
    return made


def project(broker: Broker) -> None:
    for event in broker.published:
        journal.append(event)
        coupons.on_event(event)
        active_promotions.on_event(event)


def kinds(sale: str, outside: Outside, grace_ms: int = 0) -> list[str]:
    found = audit(sale, outside, read_tables, grace_ms)
    assert found is not None
    return [difference.kind for difference in found]


def first_coupon(sale: str) -> CouponRow:
    return CouponRow.get("c-0", f"{sale}-1")


def test_a_healthy_sale_shows_nothing(sale: str, outside: Outside) -> None:
    assert kinds(sale, outside) == []


def test_a_live_sale_shows_nothing_however_often_it_is_looked_at(
    sale: str, outside: Outside, broker: Broker, repair: Repair, store: Redis
) -> None:
    with ThreadPoolExecutor(4) as pool:
        grabs = [pool.submit(grab_coupon, GrabCoupon(sale, f"d-{n}"), outside) for n in range(60)]
        for _ in range(10):
            assert reconcile(sale, outside, repair, read_tables) == []
            project(broker)
        assert all(future.result() for future in grabs)
    assert "PromotionAudited" not in {event.type for event in broker.published}
    project(broker)
    assert kinds(sale, outside) == []


def break_state(sale: str, store: Redis) -> None:
    store.delete(scripts.key(sale, "promotion"))


def break_version(sale: str, store: Redis) -> None:
    store.hset(scripts.key(sale, "promotion"), "version", 2)


def break_count(sale: str, store: Redis) -> None:
    store.hincrby(scripts.key(sale, "promotion"), "available", 1)


def break_customer(sale: str, store: Redis) -> None:
    store.hdel(scripts.key(sale, "customers"), "c-1")


def break_row(sale: str, _: Redis) -> None:
    first_coupon(sale).update(actions=[CouponRow.state.set("RELEASED")])


def lose_row(sale: str, _: Redis) -> None:
    first_coupon(sale).delete()


def add_row(sale: str, _: Redis) -> None:
    row = first_coupon(sale)
    values: dict[str, Any] = {**row.attribute_values, "customer_id": "mallory"}
    CouponRow(**values).save()


def break_counts(sale: str, _: Redis) -> None:
    ActivePromotionRow(sale).update(actions=[ActivePromotionRow.sold.set(7)])


def lose_counts(sale: str, _: Redis) -> None:
    ActivePromotionRow.get(sale).delete()


def lose_event(sale: str, _: Redis) -> None:
    journal.EventRow.get(sale, 3).delete()


def conflict(sale: str, _: Redis) -> None:
    event = next(iter(journal.read(sale, after=1)))
    journal.append(from_mapping({**event.to_dict(), "customerId": "mallory"}))


def stick(sale: str, store: Redis) -> None:
    event = next(iter(journal.read(sale, after=4)))
    fields: Any = to_entry(event)
    store.delete(scripts.key(sale, "outbox"))
    store.xadd(scripts.key(sale, "outbox"), fields, id=f"{event.version}-0")


BREAKS: dict[str, list[Callable[[str, Redis], None]]] = {
    "STATE_LOST": [break_state],
    "WRITES_LOST": [break_version],
    "STORE_WRONG": [break_count, break_customer],
    "TABLE_WRONG": [break_row, break_counts],
    "TABLE_BEHIND": [lose_row, lose_counts],
    "TABLE_PHANTOM": [add_row],
    "EVENT_MISSING": [lose_event],
    "CONFLICT": [conflict],
    "OUTBOX_STUCK": [stick],
}
CASES = [(kind, broken) for kind, each in BREAKS.items() for broken in each]


@pytest.mark.parametrize(("kind", "broken"), CASES)
def test_each_difference_is_named(
    sale: str, outside: Outside, store: Redis, kind: str, broken: Callable[[str, Redis], None]
) -> None:
    broken(sale, store)
    found = audit(sale, outside, read_tables, grace_ms=0)
    assert found is not None
    assert kind in {difference.kind for difference in found}
    assert all(difference.likely_cause for difference in found)


@pytest.mark.parametrize(
    ("kind", "broken"), [c for c in CASES if c[0] not in ("EVENT_MISSING", "TABLE_PHANTOM")]
)
def test_what_can_be_mended_is_mended_with_an_event(
    sale: str, outside: Outside, broker: Broker, store: Redis, kind: str,
    broken: Callable[[str, Redis], None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    broken(sale, store)
    monkeypatch.setattr("chalicelib.commands.reconcile.GRACE_MS", 0)
    monkeypatch.setattr(audit, "__defaults__", (0,))
    found = reconcile(sale, outside, Repair(lambda _: True, rebuild), read_tables)
    assert kind in {difference.kind for difference in found or []}
    assert broker.published[-1].type == "PromotionAudited"
    project(broker)
    assert kinds(sale, outside) == []
    state = state_of(store, sale)
    others = 1 if kind == "CONFLICT" else 0  # the one who was told yes as well
    assert (state["available"], state["sold"]) == (str(6 - others), "1")


def test_a_rebuilt_table_is_the_live_one_row_by_row(sale: str) -> None:
    before = sorted((row.attribute_values for row in CouponRow.scan()), key=str)
    counts = ActivePromotionRow.get(sale).attribute_values
    for row in CouponRow.scan():
        row.delete()
    ActivePromotionRow.get(sale).delete()
    assert rebuild(sale) == {"coupons": 3, "active-promotions": 1}
    assert sorted((row.attribute_values for row in CouponRow.scan()), key=str) == before
    assert ActivePromotionRow.get(sale).attribute_values == counts


def test_nobodys_promotion_has_no_audit(outside: Outside, aws: None) -> None:
    assert audit("never-made", outside, read_tables) is None


def test_what_is_over_and_let_go_of_is_not_missed_in_the_store(
    sale: str, outside: Outside, store: Redis
) -> None:
    close_promotion(sale, "FINISHED")
    store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))
    assert kinds(sale, outside) == []


def test_what_is_younger_than_the_grace_time_is_not_missed_yet(
    sale: str, outside: Outside, broker: Broker
) -> None:
    grab_coupon(GrabCoupon(sale, "c-9"), outside)
    journal.append(broker.published[-1])  # and the tables are on their way
    assert kinds(sale, outside, grace_ms=60_000) == []
    assert set(kinds(sale, outside)) == {"TABLE_BEHIND"}


def test_a_coupon_that_the_table_has_first_is_no_phantom_yet(
    sale: str, outside: Outside, broker: Broker
) -> None:
    grab_coupon(GrabCoupon(sale, "c-9"), outside)
    coupons.on_event(broker.published[-1])  # and the journal's message is on its way
    assert kinds(sale, outside, grace_ms=60_000) == []
    assert "TABLE_PHANTOM" in kinds(sale, outside)
