"""Events: what is one, what is not, and what of a later version still is."""

import pytest

from chalicelib.events import InvalidEvent, PromotionFinished, UnknownEvent, from_fields, parse

FINISHED = {
    "type": "PromotionFinished", "promotionId": "sale", "version": 3, "at": 5,
    "stock": 2, "available": 0, "held": 0, "sold": 2, "reason": "SOLD_OUT",
}  # fmt: skip


def test_a_field_that_a_later_version_added_is_ignored() -> None:
    event = from_fields([part for item in {**FINISHED, "new": "field"}.items() for part in item])
    assert isinstance(event, PromotionFinished)
    assert event.reason == "SOLD_OUT"


def test_a_type_that_a_later_version_added_is_kept_whole() -> None:
    body = '{"type":"CouponGilded","promotionId":"sale","version":4,"at":6,"gold":[1]}'
    event = parse(body)
    assert isinstance(event, UnknownEvent)
    assert event.to_wire() == body


@pytest.mark.parametrize(
    "body",
    [
        "", "nonsense", "[]", "null", "7", "{}", "[" * 100_000,
        '{"type":"CouponGrabbed"}',
        '{"type":"CouponGrabbed","promotionId":"sale","version":"x","at":1}',
        '{"type":"CouponGilded","promotionId":"","version":1,"at":1}',
        '{"type":"CouponGilded","promotionId":"sale","version":1.5,"at":1}',
        '{"type":"CouponGilded","promotionId":"sale","version":true,"at":1}',
        '{"type":7,"promotionId":"sale","version":1,"at":1}',
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused(body: str) -> None:
    with pytest.raises(InvalidEvent):
        parse(body)
