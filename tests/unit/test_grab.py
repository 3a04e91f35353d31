"""Grab: granted, each refusal, repeats, threads."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from chalicelib import clients
from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import Grab, GrabCoupon, grab_coupon
from tests.unit.conftest import Broker, server_of, state_of

pytestmark = pytest.mark.store

Install = Callable[..., str]
SetClock = Callable[[str, int], None]


@pytest.fixture
def grab(outside: Outside) -> Callable[..., Grab]:
    return lambda promotion, customer, key=None: grab_coupon(
        GrabCoupon(promotion, customer, key), outside
    )


GrabBy = Callable[..., Grab]


def test_the_first_to_come_gets_number_one(
    promotion: Install, grab: GrabBy, broker: Broker
) -> None:
    sale = promotion()
    answer = grab(sale, "alice")
    assert (answer.outcome, answer.published) == ("GRANTED", True)
    assert answer.coupon is not None
    assert (answer.coupon.coupon_id, answer.coupon.state) == (f"{sale}-1", "GRABBED")
    assert [event.type for event in broker.published] == ["PromotionStarted", "CouponGrabbed"]


def test_numbers_follow_the_order_of_arrival(promotion: Install, grab: GrabBy) -> None:
    sale = promotion(stock=5)
    numbers = [grab(sale, f"customer-{n}").coupon for n in range(5)]
    assert [coupon and coupon.number for coupon in numbers] == [1, 2, 3, 4, 5]


def test_versions_count_without_gaps_and_the_counts_add_up(
    promotion: Install, grab: GrabBy, broker: Broker
) -> None:
    sale = promotion(stock=3)
    for n in range(5):
        grab(sale, f"customer-{n}")
    assert [event.version for event in broker.published] == [1, 2, 3, 4, 5]
    assert broker.published[-1].to_dict()["reason"] == "SOLD_OUT"
    for event in broker.published:
        wire = event.to_dict()
        assert wire["stock"] == wire["available"] + wire["held"] + wire["sold"] == 3
        assert wire["available"] >= 0


def test_a_repeat_is_the_same_coupon_and_no_second_unit(
    promotion: Install, grab: GrabBy, store: Redis, broker: Broker
) -> None:
    sale = promotion(stock=2)
    first, second = grab(sale, "alice"), grab(sale, "alice")
    assert second.outcome == "REPEATED"
    assert second.coupon == first.coupon
    assert state_of(store, sale)["available"] == "1"
    assert len(broker.published) == 2


@pytest.mark.parametrize("others_first", [0, 1])
def test_a_repeat_gets_the_coupon_also_after_the_sale_is_sold_out(
    promotion: Install, grab: GrabBy, others_first: int
) -> None:
    sale = promotion(stock=1 + others_first)
    for n in range(others_first):
        grab(sale, f"customer-{n}")
    won = grab(sale, "alice")
    assert grab(sale, "bob").outcome == "SOLD_OUT"
    assert grab(sale, "alice").coupon == won.coupon


def test_a_repeat_gets_the_coupon_also_after_the_end(
    grab: GrabBy, set_clock: SetClock, sale_at: Install
) -> None:
    sale = sale_at()
    set_clock(sale, 1500)
    won = grab(sale, "alice")
    set_clock(sale, 2000)
    assert grab(sale, "bob").outcome == "FINISHED"
    assert (grab(sale, "alice").outcome, grab(sale, "alice").coupon) == ("REPEATED", won.coupon)


def test_the_same_customer_may_grab_from_two_promotions(promotion: Install, grab: GrabBy) -> None:
    one, other = promotion(), promotion()
    assert [grab(sale, "alice").outcome for sale in (one, other)] == ["GRANTED", "GRANTED"]


def test_a_losers_retry_is_told_sold_out_and_never_repeated(
    promotion: Install, grab: GrabBy
) -> None:
    sale = promotion(stock=1)
    grab(sale, "alice")
    assert [grab(sale, "bob").outcome for _ in range(3)] == ["SOLD_OUT"] * 3


def test_an_unknown_promotion_is_unknown(grab: GrabBy) -> None:
    assert grab("never-made", "alice").outcome == "UNKNOWN"


@pytest.mark.parametrize(
    ("at", "outcome"),
    [(999, "NOT_STARTED"), (1000, "GRANTED"), (1999, "GRANTED"), (2000, "FINISHED")],
)
def test_the_window_is_exact_to_the_millisecond(
    grab: GrabBy, sale_at: Install, set_clock: SetClock, at: int, outcome: str
) -> None:
    sale = sale_at()
    set_clock(sale, at)
    answer = grab(sale, "alice")
    assert answer.outcome == outcome
    if outcome == "NOT_STARTED":
        assert (answer.opens_at, answer.wait_ms) == (1000, 1)


@pytest.mark.parametrize("minutes_off", [-10, 10])
def test_a_workers_wrong_clock_opens_and_closes_nothing(
    promotion: Install, grab: GrabBy, monkeypatch: pytest.MonkeyPatch, minutes_off: int
) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + minutes_off * 60)
    now = clients.store_clock_ms()
    assert grab(promotion(opens_at=now + 60_000), "alice").outcome == "NOT_STARTED"
    assert grab(promotion(opens_at=now - 1), "alice").outcome == "GRANTED"
    assert grab(promotion(closes_at=now - 1), "alice").outcome == "FINISHED"


def test_the_end_is_noticed_by_the_first_grab_after_it_and_told_once(
    grab: GrabBy, sale_at: Install, broker: Broker, set_clock: SetClock
) -> None:
    sale = sale_at()
    set_clock(sale, 2500)
    assert [grab(sale, name).outcome for name in ("alice", "bob")] == ["FINISHED", "FINISHED"]
    assert [event.type for event in broker.published] == ["PromotionStarted", "PromotionFinished"]


def test_a_sale_that_sold_out_says_sold_out_also_after_its_end(
    grab: GrabBy, sale_at: Install, set_clock: SetClock
) -> None:
    sale = sale_at(stock=1)
    set_clock(sale, 1500)
    grab(sale, "alice")
    set_clock(sale, 3000)
    assert grab(sale, "bob").outcome == "SOLD_OUT"


def test_two_hundred_threads_on_ten_coupons_give_exactly_ten(
    promotion: Install, grab: GrabBy
) -> None:
    sale = promotion(stock=10)
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda n: grab(sale, f"customer-{n}"), range(200)))
    numbers = sorted(answer.coupon.number for answer in answers if answer.coupon)
    assert numbers == list(range(1, 11))
    assert sum(answer.outcome == "SOLD_OUT" for answer in answers) == 190


def test_eight_calls_of_one_customer_at_once_are_one_unit_and_eight_equal_answers(
    promotion: Install, grab: GrabBy, store: Redis
) -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in range(50):
            sale = promotion(stock=5)
            answers = list(pool.map(lambda _, sale=sale: grab(sale, "alice"), range(8)))
            assert len({answer.coupon for answer in answers}) == 1
            assert sorted(a.outcome for a in answers) == ["GRANTED"] + ["REPEATED"] * 7
            assert state_of(store, sale)["available"] == "4"


def test_ten_thousand_refused_calls_change_nothing_and_store_nothing(
    promotion: Install, store: Redis
) -> None:
    sale = promotion(stock=1)
    scripts.run(store, "grab", sale, "alice", "key")
    parts = [scripts.key(sale, part) for part in scripts.PARTS]
    before = [(store.dump(part), store.memory_usage(part)) for part in parts]
    server = server_of(store, sale)  # a cluster's pipeline takes no scripts
    with server.pipeline(transaction=False) as pipe:
        grab_script = server.register_script(scripts.source("grab"))
        for n in range(10_000):
            grab_script(keys=parts, args=[sale, f"loser-{n}", "key"], client=pipe)
        outcomes = {reply[0] for reply in pipe.execute()}
    assert outcomes == {"SOLD_OUT"}
    assert [(store.dump(part), store.memory_usage(part)) for part in parts] == before
    assert len(list(store.scan_iter(match=f"*{sale}*"))) == 3


def test_a_promotion_that_lost_its_customers_sells_nothing_more(
    promotion: Install, grab: GrabBy, store: Redis
) -> None:
    sale = promotion(stock=5)
    grab(sale, "alice")
    store.delete(scripts.key(sale, "customers"))
    assert grab(sale, "bob").outcome == "UNKNOWN"
