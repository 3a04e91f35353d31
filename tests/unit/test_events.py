"""Events: what is one, what is not, and what of a later version still is."""

import json
from dataclasses import replace

import pytest

from chalicelib.events import (
    InvalidEvent,
    PromotionFinished,
    UnknownEvent,
    from_entry,
    from_reply,
    parse,
    to_entry,
)

FINISHED = {
    "type": "PromotionFinished", "promotionId": "sale", "version": 3, "at": 5,
    "stock": 2, "available": 0, "held": 0, "sold": 2, "reason": "SOLD_OUT",
}  # fmt: skip


def test_a_field_that_a_later_version_added_is_passed_on() -> None:
    event = from_reply(
        [str(part) for item in {**FINISHED, "new": "field"}.items() for part in item]
    )
    assert isinstance(event, PromotionFinished)
    assert event.reason == "SOLD_OUT"
    assert event.to_dict()["new"] == "field"
    assert replace(event, version=4).to_dict() == {**FINISHED, "version": 4, "new": "field"}


def test_an_event_is_passed_on_letter_by_letter() -> None:
    body = json.dumps({"new": [1, None], **FINISHED}, indent=1)
    event = parse(body)
    assert event.to_wire() == body
    assert from_entry(to_entry(event)).to_wire() == body
    assert json.loads(replace(event, at=6).to_wire()) == {**FINISHED, "at": 6, "new": [1, None]}


def test_entries_of_before_keep_their_types() -> None:
    wire = {
        "type": "CouponGilded",
        "promotionId": "p",
        "version": 2,
        "at": 1,
        "customerId": "7",
        "x": 4,
    }
    entry = {name: str(value) for name, value in wire.items()}
    assert from_entry(entry).to_dict() == wire


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
