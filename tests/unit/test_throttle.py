"""Throttling: who asks too often is told when to come back, and costs the store little."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from app import source_ip
from chalicelib import clients, config
from chalicelib.commands import over, scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.grab import Grab, GrabCoupon, grab_coupon
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon, give_back_coupon, pay_coupon
from chalicelib.config import InvalidSetting, Limit, read_settings
from localstack import http_server
from tests.unit.conftest import Http, server_of

pytestmark = pytest.mark.store

Install = Callable[..., str]
SetClock = Callable[[str, int], None]
Ask = Callable[..., Http]
GrabBy = Callable[..., Grab]
Limits = Callable[..., None]

# Keys expire by the real clock, also where a test sets the scripts' clock: intervals of seconds
# outlive every such test.


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """Set limits of this stage: customer=(rate, burst), address=(rate, burst)."""

    def set_to(**limit: tuple[float, int]) -> None:
        for who, (rate, burst) in limit.items():
            monkeypatch.setenv(f"{who.upper()}_RATE", str(rate))
            monkeypatch.setenv(f"{who.upper()}_BURST", str(burst))
        config.settings.cache_clear()

    return set_to


@pytest.fixture
def grab(outside: Outside) -> GrabBy:
    def ask(sale: str, customer: str, address: str = "192.0.2.1", key: str | None = None) -> Grab:
        return grab_coupon(GrabCoupon(sale, customer, key), outside, address)

    return ask


def outcomes(answers: list[Grab]) -> list[str]:
    return [answer.outcome for answer in answers]


def test_a_customer_may_ask_as_often_as_the_burst_and_then_at_the_rate(
    sale_at: Install, set_clock: SetClock, grab: GrabBy, limits: Limits
) -> None:
    limits(customer=(0.1, 3))
    sale = sale_at(closes_at=10**6)
    set_clock(sale, 1000)
    told = [grab(sale, "alice") for _ in range(4)]
    assert outcomes(told) == ["GRANTED", "REPEATED", "REPEATED", "THROTTLED"]
    assert told[-1].wait_ms == 10_000
    set_clock(sale, 10_999)
    assert (grab(sale, "alice").outcome, grab(sale, "alice").wait_ms) == ("THROTTLED", 1)
    set_clock(sale, 11_000)
    assert outcomes([grab(sale, "alice") for _ in range(2)]) == ["REPEATED", "THROTTLED"]


def test_a_clock_that_goes_back_makes_nobody_wait_longer_than_for_an_empty_bucket(
    sale_at: Install, set_clock: SetClock, grab: GrabBy, limits: Limits
) -> None:
    limits(customer=(0.1, 1))
    sale = sale_at(closes_at=10**6)
    set_clock(sale, 500_000)
    grab(sale, "alice")
    set_clock(sale, 5000)
    assert (grab(sale, "alice").outcome, grab(sale, "alice").wait_ms) == ("THROTTLED", 10_000)


def test_a_refused_call_is_not_charged(
    sale_at: Install, set_clock: SetClock, grab: GrabBy, limits: Limits
) -> None:
    limits(customer=(0.1, 1))
    sale = sale_at()
    set_clock(sale, 1000)
    grab(sale, "alice")
    assert {grab(sale, "alice").wait_ms for _ in range(50)} == {10_000}


def test_customers_do_not_use_up_one_another(
    promotion: Install, grab: GrabBy, limits: Limits
) -> None:
    limits(customer=(0.1, 1))
    sale, other = promotion(), promotion()
    told = [grab(sale, "alice"), grab(sale, "alice"), grab(sale, "bob"), grab(other, "alice")]
    assert outcomes(told) == ["GRANTED", "THROTTLED", "GRANTED", "GRANTED"]


def test_an_address_is_one_crowd_and_who_it_sheds_keeps_their_own_bucket(
    promotion: Install, grab: GrabBy, limits: Limits
) -> None:
    limits(customer=(0.1, 1), address=(0.1, 2))
    sale = promotion()
    told = [grab(sale, f"customer-{n}", "192.0.2.1") for n in range(3)]
    assert outcomes(told) == ["GRANTED", "GRANTED", "THROTTLED"]
    assert [(rate.policy, rate.left) for rate in told[2].rates] == [("customer", 1), ("address", 0)]
    assert grab(sale, "customer-2", "192.0.2.2").outcome == "GRANTED"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("nonsense", "", True),
    ],
)
def test_an_address_is_what_one_customer_of_a_provider_has(
    promotion: Install,
    grab: GrabBy,
    limits: Limits,
    one: str,
    other: str,
    same: bool,  # noqa: FBT001
) -> None:
    limits(address=(0.1, 1))
    sale = promotion()
    told = [grab(sale, "alice", one), grab(sale, "bob", other)]
    assert outcomes(told) == ["GRANTED", "THROTTLED" if same else "GRANTED"]


def test_a_winner_who_asks_too_often_is_never_told_that_it_is_sold_out(
    promotion: Install, grab: GrabBy, limits: Limits
) -> None:
    limits(customer=(0.1, 2))
    sale = promotion(stock=1)
    told = [grab(sale, "alice") for _ in range(4)]
    assert outcomes(told) == ["GRANTED", "REPEATED", "THROTTLED", "THROTTLED"]
    assert grab(sale, "bob").outcome == "SOLD_OUT"
    over.forget(sale)


def test_paying_and_giving_back_are_never_throttled(
    promotion: Install, grab: GrabBy, limits: Limits, outside: Outside
) -> None:
    limits(customer=(0.1, 1), address=(0.1, 1))
    sale = promotion(hold_seconds=60)
    grab(sale, "alice")
    assert grab(sale, "alice").outcome == "THROTTLED"
    payments = [pay_coupon(PayCoupon(sale, 1, "alice", "visa"), outside) for _ in range(5)]
    assert [paid.outcome for paid in payments] == ["PAID"] + ["REPEATED"] * 4
    back = give_back_coupon(GiveBackCoupon(sale, 1, "alice"), outside)
    assert back.outcome == "ALREADY_PAID"


def test_a_throttled_call_reads_nothing_of_the_promotion_and_writes_nothing(
    promotion: Install, grab: GrabBy, limits: Limits, store: Redis
) -> None:
    limits(customer=(0.1, 1), address=(10, 5))
    sale = promotion()
    grab(sale, "alice")
    server = server_of(store, sale)
    server.config_resetstat()
    assert grab(sale, "alice").outcome == "THROTTLED"
    seen = {
        name.removeprefix("cmdstat_"): told["calls"]
        for name, told in server.info("commandstats").items()
    }
    for housekeeping in ("config|resetstat", "info"):
        seen.pop(housekeeping, None)
    assert seen == {"evalsha": 1, "time": 1, "mget": 1}


def test_a_bucket_is_small_and_forgotten_once_it_is_full(
    promotion: Install, grab: GrabBy, limits: Limits, store: Redis
) -> None:
    limits(customer=(0.1, 6), address=(0.05, 3))
    sale = promotion(stock=1)
    for n in range(50):
        grab(sale, f"customer-{n}", f"192.0.2.{n}")
    over.forget(sale)
    buckets = list(store.scan_iter(match=f"*{sale}*:rate:*"))
    assert len(buckets) == 4  # of the winner and the first loser; the mark has told the others
    for n in range(50):
        parts = [f"rate:c:loser-{n}", f"rate:a:{n}"]
        scripts.run(store, "grab", sale, f"loser-{n}", "key", 0, 10**7, 6, 2 * 10**7, 3, more=parts)
    buckets = list(store.scan_iter(match=f"*{sale}*:rate:*"))
    assert len(buckets) == 104
    for bucket in buckets:
        assert 0 < store.pttl(bucket) <= (10_000 if ":rate:c:" in bucket else 20_000)
        assert int(store.memory_usage(bucket) or 0) <= 160


def test_with_throttling_off_nothing_is_kept_and_nothing_is_said(
    promotion: Install, grab: GrabBy, store: Redis
) -> None:
    sale = promotion(stock=1)
    told = [grab(sale, "alice") for _ in range(20)]
    assert outcomes(told[1:]) == ["REPEATED"] * 19
    assert {answer.rates for answer in told} == {()}
    assert not list(store.scan_iter(match=f"*{sale}*:rate:*"))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    interval_us=st.sampled_from([10_000_000, 34_285_713, 60_000_000]),
    burst=st.integers(1, 5),
    steps=st.lists(
        st.sampled_from([0, 0, 1, 713, 9999, 10_000, 34_286, 60_000, 500_000]), max_size=25
    ),
)
def test_it_admits_what_a_token_bucket_admits(
    interval_us: int,
    burst: int,
    steps: list[int],
    sale_at: Install,
    set_clock: SetClock,
    store: Redis,
) -> None:
    sale = sale_at(closes_at=10**9)
    now, tokens_us = 1000, burst * interval_us
    for step in steps:
        now += step
        tokens_us = min(burst * interval_us, tokens_us + step * 1000)
        set_clock(sale, now)
        reply = scripts.run(
            store, "grab", sale, "al", "key", 0, interval_us, burst, more=["rate:c:al"]
        )
        assert (reply.outcome != "THROTTLED") == (tokens_us >= interval_us)
        if reply.outcome == "THROTTLED":
            assert reply.detail["retryInMs"] == -(-(interval_us - tokens_us) // 1000)
        else:
            tokens_us -= interval_us
        assert reply.detail["rates"][0] == tokens_us // interval_us


def test_threads_of_one_customer_get_no_more_than_the_burst(
    promotion: Install, grab: GrabBy, limits: Limits
) -> None:
    limits(customer=(0.1, 5))
    sale = promotion()
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda _: grab(sale, "alice"), range(64)))
    assert outcomes(told).count("THROTTLED") == 59


# --- over HTTP --------------------------------------------------------------------------------


def post(http: Ask, sale: str, customer: str, **headers: str) -> Http:
    body = {"promotionId": sale, "customerId": customer}
    return http("POST", "/command/coupons", body, **headers)


@pytest.fixture
def sale(http: Ask, offer: dict[str, Any]) -> str:
    offer["publishTime"] = clients.store_clock_ms() - 1
    return str(http("POST", "/admin/promotions", offer).body["promotionId"])


def test_a_throttled_grab_is_429_and_says_when_to_come_back(
    http: Ask, sale: str, limits: Limits
) -> None:
    limits(customer=(0.05, 2), address=(100, 200))
    served = [post(http, sale, "alice") for _ in range(2)]
    assert [answer.status for answer in served] == [201, 200]
    refused = post(http, sale, "alice")
    assert (refused.status, refused.body["code"]) == (429, "THROTTLED")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Cache-Control"] == "no-store"
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    for answer in (*served, refused):
        assert answer.headers["RateLimit-Policy"] == '"customer";q=2;w=40, "address";q=200;w=2'
    standing = [answer.headers["RateLimit"] for answer in (*served, refused)]
    form = r'"customer";r=(\d);t=\d+, "address";r=19\d;t=1'
    left = [re.fullmatch(form, told) for told in standing]
    assert [match and match[1] for match in left] == ["1", "0", "0"]


def test_retry_after_is_a_second_at_least(
    http: Ask, sale_at: Install, set_clock: SetClock, limits: Limits
) -> None:
    limits(customer=(0.05, 1))
    sale = sale_at(closes_at=10**6)
    set_clock(sale, 1000)
    assert post(http, sale, "alice").status == 201
    set_clock(sale, 20_999)  # a millisecond is left to wait
    answer = post(http, sale, "alice")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")


def test_losers_carry_the_fields_too_and_without_limits_nobody_does(
    http: Ask, offer: dict[str, Any], sale: str, limits: Limits
) -> None:
    assert "RateLimit" not in post(http, sale, "alice").headers
    limits(customer=(1, 2))
    offer["publishTime"] = clients.store_clock_ms() + 60_000
    later = http("POST", "/admin/promotions", offer).body["promotionId"]
    answer = post(http, later, "alice")
    assert (answer.status, answer.headers["RateLimit"]) == (403, '"customer";r=1;t=1')


def test_no_header_of_the_clients_changes_their_address(
    http: Ask, sale: str, limits: Limits
) -> None:
    limits(address=(0.1, 2))
    statuses = [
        post(
            http, sale, f"customer-{n}", x_forwarded_for=f"198.51.100.{n}", forwarded=f"for={n}"
        ).status
        for n in range(4)
    ]
    assert statuses == [201, 201, 429, 429]


def test_the_local_server_takes_the_address_of_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def see(*_: Any) -> Any:
        seen.append(source_ip())
        return []

    monkeypatch.setattr("app.promotions_on_sale", see)
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/query/promotions",
        "REMOTE_ADDR": "198.51.100.7",
        "HTTP_X_FORWARDED_FOR": "192.0.2.9",
        "wsgi.input": BytesIO(),
    }
    told: list[str] = []
    http_server.application(environ, lambda status, _: told.append(status))
    assert (told, seen) == (["200 OK"], ["198.51.100.7"])


# --- settings ---------------------------------------------------------------------------------

LOCAL = {"STAGE": "local"}


def test_limits_are_off_unless_set() -> None:
    unset = read_settings(LOCAL)
    assert (unset.customer_limit, unset.address_limit) == (None, None)
    off = read_settings({**LOCAL, "CUSTOMER_RATE": "0", "CUSTOMER_BURST": "7"})
    assert off.customer_limit is None


@pytest.mark.parametrize(
    ("rate", "burst", "limit"),
    [
        ("2", "5", Limit(2, 5)),
        ("0.5", "30", Limit(0.5, 30)),
        ("2", None, Limit(2, 4)),
        ("0.1", None, Limit(0.1, 1)),
        ("10000", "100000", Limit(10_000, 100_000)),
    ],
)
def test_a_limit_is_a_rate_and_a_burst(rate: str, burst: str | None, limit: Limit) -> None:
    environ = {"ADDRESS_RATE": rate} | ({"ADDRESS_BURST": burst} if burst else {})
    assert read_settings(LOCAL | environ).address_limit == limit


@pytest.mark.parametrize("who", ["CUSTOMER", "ADDRESS"])
@pytest.mark.parametrize(
    ("rate", "burst", "named"),
    [
        ("-1", "5", "RATE"), ("nan", "5", "RATE"), ("inf", "5", "RATE"), ("often", "5", "RATE"),
        ("10001", "5", "RATE"), ("", "5", "RATE"), ("1", "0", "BURST"), ("1", "-1", "BURST"),
        ("1", "1.5", "BURST"), ("1", "many", "BURST"), ("1", "61", "BURST"),
        ("0.001", "1", "BURST"), ("10000", "100001", "BURST"), ("1", "", "BURST"),
        ("0", "none", "BURST"),
    ],
)  # fmt: skip
def test_a_limit_out_of_its_range_is_named(who: str, rate: str, burst: str, named: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{who}_{named}"):
        read_settings({**LOCAL, f"{who}_RATE": rate, f"{who}_BURST": burst})
