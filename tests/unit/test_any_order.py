"""Every event of every type, in any order, repeated, in any batches: the same rows."""

from collections.abc import Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib import events
from chalicelib.events import GENERATION, AnyEvent, Event, UnknownEvent
from chalicelib.projections import active_promotions
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.projections.rebuild import rebuild_active_promotions, rebuild_coupons
from tests.unit.test_projections import PROJECTIONS, folded, in_a_world_of_its_own

_CLASSES = [c for c in vars(events).values() if isinstance(c, type) and issubclass(c, Event)]
# Every type of event that events.py declares: the classes that no other one extends.
TYPES = [
    c for c in _CLASSES if not any(other is not c and issubclass(other, c) for other in _CLASSES)
]

_VERSIONS = [generation * GENERATION + n for generation in range(3) for n in range(1, 10)]
_TEXT = st.sampled_from(["kettle", "token"])
_WHOLE = st.integers(1, 3)
_DECIMAL = st.sampled_from([Decimal("0.5"), Decimal("12.00")])
_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    int: _WHOLE,
    Decimal: _DECIMAL,
    str | None: st.none() | _TEXT,
    int | None: st.none() | _WHOLE,
    Decimal | None: st.none() | _DECIMAL,
}
_STATES = st.sampled_from([None, "SCHEDULED", "ON_SALE", "FINISHED", "CANCELLED"])
_BY_NAME: dict[str, st.SearchStrategy[Any]] = {"promotion_id": st.just("sale"), "state": _STATES}


@st.composite
def any_event(draw: st.DrawFn, cls: type[Event], version: int) -> Event:
    """An event of this class, with random values in all its fields."""
    values = {
        f.name: draw(_BY_NAME[f.name] if f.name in _BY_NAME else _BY_TYPE[f.type])
        for f in fields(cls)
        if f.compare and f.name != "version"
    }
    return cls(version=version, **values)


@st.composite
def stories(draw: st.DrawFn) -> list[AnyEvent]:
    """A promotion's events in order of their version: of each type one, and some more."""
    types = [*TYPES, *draw(st.lists(st.sampled_from(TYPES), max_size=6))]
    unknown, *versions = draw(st.permutations(_VERSIONS))
    told: list[AnyEvent] = [
        draw(any_event(cls, version)) for cls, version in zip(types, versions, strict=False)
    ]
    body = {"type": "CouponGilded", "promotionId": "sale", "version": unknown, "at": 1}
    told.append(events.from_mapping(body))
    return sorted(told, key=lambda event: event.version)


def batches(draw: Any, told: Sequence[AnyEvent]) -> list[Sequence[AnyEvent]]:
    sizes = draw(st.lists(st.integers(1, 10), min_size=len(told), max_size=len(told)))
    left = list(told)
    cut: list[Sequence[AnyEvent]] = []
    for size in sizes:
        cut.append(left[:size])
        left = left[size:]
    return cut


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_any_repeats_and_any_batches_make_the_same_rows(data: st.DataObject) -> None:
    story = data.draw(stories())
    repeats = data.draw(st.lists(st.sampled_from(story), max_size=8))
    mixed = data.draw(st.permutations([*story, *repeats]))
    expected = {model: folded(model, story) for model in PROJECTIONS}
    assert all(expected.values())
    for model, rows in expected.items():
        assert folded(model, mixed) == rows
    needed = []
    for batch in batches(data.draw, mixed):
        matter = active_promotions.that_matter(batch)
        needed += [event for event in batch if (event.promotion_id, event.version) in matter]
    assert folded(ActivePromotionRow, needed) == expected[ActivePromotionRow]
    with in_a_world_of_its_own(CouponRow, ActivePromotionRow) as table:
        rebuild_coupons(mixed)
        rebuild_active_promotions(mixed)
        assert table(CouponRow) == expected[CouponRow]
        assert table(ActivePromotionRow) == expected[ActivePromotionRow]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=stories())
def test_every_type_that_is_declared_is_told_and_travels(story: list[AnyEvent]) -> None:
    known = [event for event in story if not isinstance(event, UnknownEvent)]
    assert {type(event) for event in known} == set(TYPES)
    for event in known:
        assert events.parse(event.to_wire()) == event
