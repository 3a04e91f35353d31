"""Every projection: once, twice, shuffled - the same table."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws
from pynamodb.models import Model

from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.events import (
    GENERATION,
    AnyEvent,
    CouponGrabbed,
    CouponReleased,
    CouponRevoked,
    PromotionFinished,
    PromotionRecovered,
    PromotionStarted,
    RefundRecorded,
    from_mapping,
)
from chalicelib.journal import ConflictRow, EventRow
from chalicelib.projections import active_promotions, coupons, journal
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.projections.rebuild import rebuild_active_promotions, rebuild_coupons
from chalicelib.queries.coupons import coupon_by_id
from chalicelib.queries.promotions import active_promotion
from chalicelib.queries.promotions import active_promotions as on_sale
from tests.unit.conftest import Broker, metrics

PROJECTIONS: dict[type[Model], Callable[[AnyEvent], None]] = {
    EventRow: partial(journal.on_event, ask=lambda _: None),
    CouponRow: coupons.on_event,
    ActivePromotionRow: active_promotions.on_event,
}


@pytest.fixture
def story(promotion: Callable[..., str], outside: Outside, broker: Broker) -> list[AnyEvent]:
    """All events of two sales: one sold out, one still on."""
    for stock in (4, 9):
        sale = promotion(stock=stock)
        for n in range(5):
            grab_coupon(GrabCoupon(sale, f"customer-{n}"), outside)
    return list(broker.published)


def table(model: type[Model]) -> list[dict[str, Any]]:
    return sorted((row.attribute_values for row in model.scan()), key=str)


def folded(model: type[Model], events: Sequence[AnyEvent]) -> list[dict[str, Any]]:
    """The table that `events` make, in a world of its own."""
    with in_a_world_of_its_own(model):
        for event in events:
            PROJECTIONS[model](event)
        return table(model)


@contextmanager
def in_a_world_of_its_own(
    *models: type[Model],
) -> Iterator[Callable[[type[Model]], list[dict[str, Any]]]]:
    """With empty tables; gives what reads them."""
    with mock_aws():
        for model in models:
            model.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
        yield table


@pytest.mark.parametrize("model", PROJECTIONS)
def test_repeated_and_shuffled_events_make_the_same_table(
    story: list[AnyEvent], model: type[Model]
) -> None:
    expected = folded(model, story)
    assert expected
    shuffle = random.Random(17)
    for _ in range(8):
        mixed = [event for event in story for _ in range(shuffle.randint(1, 3))]
        shuffle.shuffle(mixed)
        assert folded(model, mixed) == expected


@pytest.fixture
def listed(story: list[AnyEvent]) -> list[dict[str, Any]]:
    """The active promotions of the story, told once and in order."""
    return folded(ActivePromotionRow, story)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_batching_of_active_promotions_makes_the_same_table(
    story: list[AnyEvent], listed: list[dict[str, Any]], data: st.DataObject
) -> None:
    left = list(data.draw(st.permutations(story + story[:3])))
    collapsed = []
    while left:
        size = data.draw(st.integers(1, 10))
        batch, left = left[:size], left[size:]
        matter = active_promotions.that_matter(batch)
        collapsed += [event for event in batch if (event.promotion_id, event.version) in matter]
    assert folded(ActivePromotionRow, collapsed) == listed


def test_a_batch_touches_a_shared_row_only_for_its_newest_counts_and_its_ends(
    story: list[AnyEvent],
) -> None:
    sale = [event for event in story if event.promotion_id == story[0].promotion_id]
    assert {version for _, version in active_promotions.that_matter(sale)} == {1, len(sale)}


def test_a_finish_that_comes_before_its_start_still_ends_as_finished(
    aws: None, story: list[AnyEvent]
) -> None:
    start = next(event for event in story if isinstance(event, PromotionStarted))
    finish = next(event for event in story if isinstance(event, PromotionFinished))
    active_promotions.on_event(finish)
    assert active_promotion(finish.promotion_id) is None
    active_promotions.on_event(start)
    assert active_promotion(finish.promotion_id) is None
    assert ActivePromotionRow.get(finish.promotion_id).state == "FINISHED"


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_a_start_that_is_half_written_is_not_shown_half(
    aws: None, story: list[AnyEvent], monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    start = next(event for event in story if isinstance(event, PromotionStarted))
    update = ActivePromotionRow.update
    done: list[Any] = []

    def dies_after(*args: Any, **kwargs: Any) -> Any:
        if len(done) == writes:
            raise ConnectionResetError
        done.append(args)
        return update(*args, **kwargs)

    monkeypatch.setattr(ActivePromotionRow, "update", dies_after)
    with suppress(ConnectionResetError):
        active_promotions.on_event(start)
    assert [p.promotion_id for p in on_sale()] == ([start.promotion_id] if writes == 3 else [])
    assert (active_promotion(start.promotion_id) is not None) == (writes == 3)


def test_counts_that_come_before_the_start_show_nothing_until_it_comes(
    aws: None, story: list[AnyEvent]
) -> None:
    sale = story[-1].promotion_id
    active_promotions.on_event(story[-1])
    assert active_promotion(sale) is None
    active_promotions.on_event(next(e for e in story if e.promotion_id == sale))
    shown = active_promotion(sale)
    assert shown is not None
    assert (shown.state, shown.available) == ("ON_SALE", 4)


COUNTS: dict[str, Any] = {
    "promotion_id": "sale", "at": 1, "stock": 5, "available": 5, "held": 0, "sold": 0,
}  # fmt: skip
OFFER: dict[str, Any] = {
    "discount": Decimal("0.5"), "opens_at": 1, "closes_at": 9, "coupons_per_customer": 1,
    "hold_seconds": 0,
}  # fmt: skip
SOLD_AS: dict[str, Any] = {"price": Decimal("10.00"), "item_id": "kettle", "admission": "token"}


def recovered(state: str | None, *, version: int = GENERATION + 1, **more: Any) -> AnyEvent:
    told: dict[str, Any] = {**COUNTS, **(OFFER if state else {}), **more}
    return PromotionRecovered(version=version, reason="STATE_LOST", lost=1, state=state, **told)


@pytest.mark.parametrize("order", [1, -1])
def test_a_newer_offer_replaces_the_older_one_whole_in_any_order(aws: None, order: int) -> None:
    older = PromotionStarted(version=1, **COUNTS, **{**OFFER, **SOLD_AS})
    newer = PromotionStarted(
        version=GENERATION + 2, **COUNTS, **{**OFFER, "discount": Decimal("0.4")}
    )
    for event in (older, newer)[::order]:
        active_promotions.on_event(event)
    shown = active_promotion("sale")
    assert shown is not None
    assert (shown.discount, shown.price, shown.item_id) == (Decimal("0.4"), None, None)
    assert shown.admission is None


@pytest.mark.parametrize("order", [1, -1])
def test_a_sale_that_a_recovery_has_opened_again_is_listed(aws: None, order: int) -> None:
    told = [
        PromotionStarted(version=1, **COUNTS, **OFFER),
        PromotionFinished(version=3, reason="SOLD_OUT", **COUNTS),
        recovered("ON_SALE", **SOLD_AS),
    ]
    for event in told[::order]:
        active_promotions.on_event(event)
    assert [(p.promotion_id, p.price) for p in on_sale()] == [("sale", Decimal("10.00"))]
    assert rebuild_active_promotions(told[::order]) == 1
    assert [(p.promotion_id, p.price) for p in on_sale()] == [("sale", Decimal("10.00"))]


@pytest.mark.parametrize("state", ["SCHEDULED", "FINISHED", "CANCELLED"])
def test_a_sale_that_a_recovery_did_not_open_is_not_listed(aws: None, state: str) -> None:
    active_promotions.on_event(PromotionStarted(version=1, **COUNTS, **OFFER))
    active_promotions.on_event(recovered(state))
    assert on_sale() == []
    assert active_promotion("sale") is None
    assert ActivePromotionRow.get("sale").state == state


def test_a_recovery_of_an_earlier_release_changes_the_counts_only(aws: None) -> None:
    active_promotions.on_event(PromotionStarted(version=1, **COUNTS, **OFFER))
    active_promotions.on_event(recovered(None))
    assert [p.promotion_id for p in on_sale()] == ["sale"]
    assert ActivePromotionRow.get("sale").version == GENERATION + 1


def test_a_recovery_that_says_a_state_is_never_passed_over_in_a_batch() -> None:
    later = recovered(None, version=GENERATION + 2)
    batch = [recovered("ON_SALE"), later]
    assert active_promotions.that_matter(batch) == {(e.promotion_id, e.version) for e in batch}


COUPON: dict[str, Any] = {
    "customer_id": "alice", "number": 1, "discount": Decimal("0.5"), "grabbed_at": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("event", "reason", "moved_to"),
    [
        (CouponReleased(version=2, reason="EXPIRED", **COUNTS, **COUPON), "EXPIRED", None),
        (
            RefundRecorded(version=2, reason="HOLD_EXPIRED", **COUNTS, **COUPON),
            "HOLD_EXPIRED",
            None,
        ),
        (CouponRevoked(version=2, reason="SOLD_TWICE", **COUNTS, **COUPON), "SOLD_TWICE", None),
        (
            CouponRevoked(version=2, reason="RENUMBERED", moved_to=7, **COUNTS, **COUPON),
            "RENUMBERED",
            "sale-7",
        ),
        (CouponGrabbed(version=2, **COUNTS, **COUPON), None, None),
    ],
)
def test_a_coupon_shows_why_it_is_not_valid_and_which_one_replaces_it(
    aws: None, event: AnyEvent, reason: str | None, moved_to: str | None
) -> None:
    coupons.on_event(event)
    coupon = coupon_by_id("alice", "sale-1")
    assert coupon is not None
    shown = coupon.to_json()
    assert (shown.get("reason"), shown.get("movedTo")) == (reason, moved_to)
    assert None not in shown.values()


def test_a_coupon_is_rebuilt_from_its_newest_event_in_any_order(aws: None) -> None:
    told = [
        CouponRevoked(version=GENERATION + 1, reason="SOLD_TWICE", **COUNTS, **COUPON),
        CouponGrabbed(version=2, **COUNTS, **COUPON),
    ]
    assert rebuild_coupons(told) == 1
    assert CouponRow.get("alice", "sale-1").state == "REVOKED"


def test_another_event_under_the_same_version_is_a_conflict_and_overwrites_nothing(
    aws: None, story: list[AnyEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    for event in story:
        journal.on_event(event)
    before = table(EventRow)
    usurper = from_mapping({**story[1].to_dict(), "customerId": "mallory"})
    for _ in range(2):
        journal.on_event(usurper)
    assert table(EventRow) == before
    assert [row["event"] for row in table(ConflictRow)] == [usurper.to_wire()]
    assert len(metrics(capsys.readouterr().out, "journal_conflict")) == 2


def test_new_counts_and_what_becomes_visible_are_measured_once(
    aws: None, story: list[AnyEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    started, grabbed = story[0], story[1]
    assert isinstance(grabbed, CouponGrabbed)
    for event in (grabbed, grabbed, started):  # a repeat, and one that comes too late
        active_promotions.on_event(event)
        coupons.on_event(event)
    active_promotions.on_event(grabbed, again=True)
    coupons.on_event(grabbed, again=True)
    told = capsys.readouterr().out
    [counts] = metrics(told, "available")
    assert (counts["sold"], counts["held"], counts["available"]) == ([1.0], [0.0], [3.0])
    assert (counts["promotion"], counts["service"]) == (grabbed.promotion_id, "seckill-local")
    [visible] = metrics(told, "time_to_visible")
    assert 0 <= visible["time_to_visible"][0] <= time.time_ns() // 1_000_000 - grabbed.at


def test_the_journal_keeps_an_event_of_a_type_it_does_not_know_and_others_skip_it(
    aws: None,
) -> None:
    body = {"type": "CouponGilded", "promotionId": "sale", "version": 1, "at": 6, "gold": [1]}
    event = from_mapping(body)
    for project in PROJECTIONS.values():
        project(event)
        project(event)
    assert len(table(EventRow)) == 1
    assert table(CouponRow) == table(ActivePromotionRow) == []
