"""Timers: on the millisecond, none lost for good, one bad one stops no other."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from redis import Redis

import app as entry_points
from chalicelib import clients, config, timers
from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.recover import Repair
from chalicelib.commands.wake import wake_promotion
from chalicelib.projections.batch import BatchFailed
from chalicelib.timers import InvalidTimer, Timer
from localstack.lambdas import sqs_event
from tests.unit.conftest import Broker, metrics, state_of

pytestmark = pytest.mark.store

Install = Callable[..., str]


def test_a_timer_that_comes_a_little_early_waits_for_the_millisecond(
    sale_at: Install,
    set_clock: Callable[[str, int], None],
    outside: Outside,
    repair: Repair,
    broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sale = sale_at(opens_at=1000)
    set_clock(sale, 850)

    class At850:
        """The store, whose clock stands still until somebody sleeps."""

        def time(self) -> tuple[int, int]:
            return 0, 850_000

        def __getattr__(self, name: str) -> Any:
            return getattr(outside.store, name)

    monkeypatch.setattr(time, "sleep", lambda seconds: set_clock(sale, 850 + round(seconds * 1000)))
    assert broker.published == []
    there = replace(outside, store=cast("Redis", At850()))
    assert wake_promotion(Timer(sale, 1000), there, repair) == "ON_SALE"
    assert [event.at for event in broker.published] == [1000]


def test_a_timer_that_comes_much_too_early_is_armed_again(
    promotion: Install, outside: Outside, repair: Repair, armed: list[Timer]
) -> None:
    opens_at = clients.store_clock_ms() + 60_000
    sale = promotion(opens_at=opens_at)
    armed.clear()
    assert wake_promotion(Timer(sale, opens_at), outside, repair) == "EARLY"
    assert armed == [Timer(sale, opens_at)]


def test_a_late_and_a_doubled_timer_change_nothing_more(
    promotion: Install, outside: Outside, repair: Repair, broker: Broker
) -> None:
    opens_at = clients.store_clock_ms() + 50
    sale = promotion(opens_at=opens_at)
    for _ in range(3):
        wake_promotion(Timer(sale, opens_at), outside, repair)
    assert [event.type for event in broker.published] == ["PromotionStarted"]


def test_a_timer_that_can_not_be_sent_is_counted_and_the_grab_is_granted(
    promotion: Install, store: Redis, broker: Broker, aws: None, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = timers.queue_timers(
        clients.sqs(), "https://sqs.us-east-1.amazonaws.com/123456789012/gone"
    )
    gone(Timer("sale", 5000), 0)
    assert metrics(capsys.readouterr().out, "timer_not_armed")


@pytest.mark.parametrize(
    ("due_in_ms", "delay_s"), [(0, 0), (1199, 0), (1200, 1), (899_999, 899), (5_000_000, 900)]
)
def test_a_delay_is_rounded_down_and_at_most_what_the_queue_takes(
    aws: None, due_in_ms: int, delay_s: int
) -> None:
    sent: list[dict[str, object]] = []
    clients.sqs().meta.events.register(
        "before-parameter-build.sqs.SendMessage", lambda params, **_: sent.append(params)
    )
    arm = timers.queue_timers(clients.sqs(), config.settings().timers_queue_url)
    arm(Timer("sale", 1_000_000 + due_in_ms), 1_000_000)
    assert sent[-1]["DelaySeconds"] == delay_s


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"promotionId": "x"}', '{"dueAt": 1}'])
def test_what_is_no_timer_is_refused(body: str) -> None:
    with pytest.raises(InvalidTimer):
        timers.parse(body)


def test_of_twenty_due_at_one_instant_a_corrupt_one_stops_no_other(
    promotion: Install, aws: None, store: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    opens_at = clients.store_clock_ms()
    corrupt, *others = [promotion(opens_at=opens_at + 3_600_000) for _ in range(20)]
    for sale in others:
        store.hset(scripts.key(sale, "promotion"), "opens_at", opens_at)
    store.hset(scripts.key(corrupt, "promotion"), "opens_at", "soon")
    url = config.settings().timers_queue_url
    for sale in [corrupt, *others]:
        clients.sqs().send_message(QueueUrl=url, MessageBody=Timer(sale, opens_at).to_wire())
    arn = "arn:aws:sqs:us-east-1:123456789012:seckill-local-timers"
    failures = 0
    for _ in range(20):
        got = clients.sqs().receive_message(QueueUrl=url, MaxNumberOfMessages=1)["Messages"]
        try:
            entry_points.on_timer_messages(sqs_event(got, arn), None)
        except BatchFailed:
            failures += 1
    assert failures == 1
    assert [state_of(store, sale)["state"] for sale in others] == ["ON_SALE"] * 19
    assert len(metrics(capsys.readouterr().out, "message_failed")) == 1
    assert json.loads(Timer("a", 1).to_wire()) == {"promotionId": "a", "dueAt": 1}
