"""The sweep: starts, finishes, publishes, retires; one bad promotion stops nobody."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from redis import Redis

from chalicelib import clients
from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.promotions import PromotionRow, live_promotions
from chalicelib.commands.recover import Repair
from chalicelib.commands.sweep import sweep
from chalicelib.events import Event, from_entry, to_entry
from tests.unit.conftest import Broker, metrics, promotion_row, state_of

pytestmark = pytest.mark.store

HOUR_MS = 3_600_000


@pytest.fixture
def live(aws: None, outside: Outside, repair: Repair) -> Callable[..., str]:
    """A promotion in table and store."""

    def make(
        opens_in_ms: int = -1,
        closes_in_ms: int = HOUR_MS,
        *,
        installed: bool = True,
        stock: int = 2,
        **more: Any,
    ) -> str:
        now = clients.store_clock_ms()
        row = promotion_row(stock, max(0, now + opens_in_ms), now + closes_in_ms, **more)
        row.save()
        if installed:
            install_promotion(row, outside)
        return str(row.promotion_id)

    return make


def types(broker: Broker, sale: str) -> list[str]:
    return [event.type for event in broker.published if event.promotion_id == sale]


def test_it_publishes_what_a_broker_outage_left_behind(
    live: Callable[..., str], store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live()
    broker.away = True
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    assert sweep(outside, repair).waiting == 1
    broker.away = False
    assert sweep(outside, repair).waiting == 0
    assert types(broker, sale) == ["PromotionStarted", "CouponGrabbed"]


def test_it_tells_how_long_the_oldest_event_has_been_waiting(
    live: Callable[..., str],
    store: Redis,
    broker: Broker,
    outside: Outside,
    repair: Repair,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, new = live(), live()
    broker.away = True
    for sale in (old, new):
        grab_coupon(GrabCoupon(sale, "alice"), outside)
    first: Any = store.xrange(scripts.key(old, "outbox"), count=1)
    [(entry, fields)] = first
    store.delete(scripts.key(old, "outbox"))
    decided_at = clients.store_clock_ms() - 60_000
    earlier = replace(cast("Event", from_entry(fields)), at=decided_at)
    store.xadd(scripts.key(old, "outbox"), cast("Any", to_entry(earlier)), id=entry)
    oldest_ms = sweep(outside, repair).oldest_ms
    assert 60_000 <= oldest_ms <= clients.store_clock_ms() - decided_at
    broker.away = False
    assert sweep(outside, repair).oldest_ms == 0
    ages = [line["outbox_age"] for line in metrics(capsys.readouterr().out, "outbox_age")]
    assert ages == [[oldest_ms], [0]]


def test_it_finishes_and_retires_a_sale_whose_end_has_come_without_traffic(
    live: Callable[..., str], store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live(opens_in_ms=-2000, closes_in_ms=0)
    swept = sweep(outside, repair)
    assert (swept.closed, types(broker, sale)) == (1, ["PromotionStarted", "PromotionFinished"])
    assert PromotionRow.get(sale).closed_as == "FINISHED"
    assert [row.promotion_id for row in live_promotions()] == []
    assert store.ttl(scripts.key(sale, "promotion")) > 0
    assert not store.exists(scripts.key(sale, "outbox"))


def test_a_closed_sale_keeps_its_keys_until_its_outbox_is_empty(
    live: Callable[..., str], store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live()
    broker.away = True
    for name in ("alice", "bob"):
        grab_coupon(GrabCoupon(sale, name), outside)
    assert sweep(outside, repair).closed == 0
    assert store.ttl(scripts.key(sale, "promotion")) == -1
    broker.away = False
    assert sweep(outside, repair).closed == 1
    assert store.ttl(scripts.key(sale, "customers")) > 0


def test_no_key_of_a_live_sale_has_a_time_to_live(
    live: Callable[..., str], store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live()
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    sweep(outside, repair)
    keys = list(store.scan_iter(match=f"*{sale}*"))
    assert len(keys) >= 2
    assert {store.ttl(key) for key in keys} == {-1}


def test_one_corrupt_promotion_stops_no_other(
    live: Callable[..., str],
    store: Redis,
    broker: Broker,
    outside: Outside,
    repair: Repair,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corrupt = live()
    store.hset(scripts.key(corrupt, "promotion"), "closes_at", "never")
    for _ in range(19):
        live(opens_in_ms=-2000, closes_in_ms=0)
    swept = sweep(outside, repair)
    assert (swept.promotions, swept.closed, swept.failed) == (20, 19, [corrupt])
    assert len(metrics(capsys.readouterr().out, "sweep_failed")) == 1


def test_installing_again_leaves_a_live_sale_as_it_is(
    live: Callable[..., str], store: Redis, broker: Broker, outside: Outside, repair: Repair
) -> None:
    sale = live()
    grab_coupon(GrabCoupon(sale, "alice"), outside)
    before = state_of(store, sale)
    install_promotion(PromotionRow.get(sale), outside)
    assert state_of(store, sale) == before
