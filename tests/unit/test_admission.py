"""Admission by token: none before the start, and of no use to anybody else."""

import base64
import re
import secrets
from collections.abc import Callable

import pytest
from redis import Redis

from chalicelib import config
from chalicelib.commands import over, scripts, tokens
from chalicelib.commands.admit import TOKEN_LIVES_MS, Admission, AdmitCustomer, admit_customer
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.grab import Grab, GrabCoupon, grab_coupon
from chalicelib.config import AdmissionKey, InvalidSetting, read_settings
from localstack.cloud import Options, _environ
from tests.unit.conftest import Broker, Http, state_of

pytestmark = pytest.mark.store

Install = Callable[..., str]
SetClock = Callable[[str, int], None]
Ask = Callable[..., Http]
KeysOf = Callable[..., None]
ONE, TWO, THREE = (
    f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in ("one", "two", "3")
)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> KeysOf:
    """Set the stage's keys; the first signs."""

    def set_to(*entries: str) -> None:
        monkeypatch.setenv("ADMISSION_KEYS", ",".join(entries))
        config.settings.cache_clear()

    return set_to


@pytest.fixture(autouse=True)
def _one_key(keys: KeysOf, _settings: None) -> None:
    keys(ONE)


@pytest.fixture
def grab(outside: Outside) -> Callable[..., Grab]:
    return lambda sale, customer, token=None, key=None: grab_coupon(
        GrabCoupon(sale, customer, key, token), outside
    )


@pytest.fixture
def admit(outside: Outside) -> Callable[..., Admission]:
    return lambda sale, customer: admit_customer(AdmitCustomer(sale, customer), outside)


GrabBy = Callable[..., Grab]
AdmitBy = Callable[..., Admission]


# --- grabbing ---------------------------------------------------------------------------------


def test_a_token_admits_its_customer(promotion: Install, admit: AdmitBy, grab: GrabBy) -> None:
    sale = promotion(admission="token")
    admitted = admit(sale, "alice")
    assert admitted.outcome == "ADMITTED"
    assert grab(sale, "alice", admitted.token).outcome == "GRANTED"


def test_without_a_token_nothing_is_sold(promotion: Install, grab: GrabBy, store: Redis) -> None:
    sale = promotion(admission="token")
    answer = grab(sale, "alice")
    assert (answer.outcome, answer.coupon) == ("TOKEN_REQUIRED", None)
    assert "missing" in answer.why
    assert state_of(store, sale)["available"] == "10"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: re.sub(r"\.\d+\.", ".4102444800000.", token),
        lambda token: "two" + token.removeprefix("one"),
        lambda token: token.rpartition(".")[0],
        lambda token: token.rpartition(".")[0] + ".",
        lambda _: "nonsense",
        lambda _: "one.4102444800000.",
        lambda _: "one..",
        lambda _: "..",
    ],
)
def test_a_token_that_was_tampered_with_admits_nobody(
    promotion: Install, admit: AdmitBy, grab: GrabBy, keys: KeysOf, spoil: Callable[[str], str]
) -> None:
    keys(ONE, TWO)
    sale = promotion(admission="token")
    answer = grab(sale, "alice", spoil(admit(sale, "alice").token))
    assert (answer.outcome, answer.why[:16]) == ("TOKEN_REQUIRED", "token is not one")


def test_a_token_is_of_no_use_to_another_customer_or_for_another_promotion(
    promotion: Install, admit: AdmitBy, grab: GrabBy
) -> None:
    sale, other = promotion(admission="token"), promotion(admission="token")
    token = admit(sale, "alice").token
    for stranger in (grab(sale, "bob", token), grab(other, "alice", token)):
        assert (stranger.outcome, stranger.why[:16]) == ("TOKEN_REQUIRED", "token is not one")
    assert grab(sale, "alice", token).outcome == "GRANTED"


def test_what_is_signed_can_not_be_divided_in_another_way() -> None:
    [key] = [AdmissionKey("one", b"k" * 32)]
    token = tokens.sign("sale-1", "alice", 1000, [key])
    assert tokens.valid_until(token, "sale-1", "alice", [key]) == 1000
    assert tokens.valid_until(token, "sale", "1-alice", [key]) == 0
    assert tokens.valid_until(token, "sale-", "1alice", [key]) == 0


@pytest.mark.parametrize(("late_ms", "outcome"), [(-1, "GRANTED"), (0, "TOKEN_REQUIRED")])
def test_a_token_expires_on_the_millisecond_by_the_stores_clock(
    sale_at: Install, set_clock: SetClock, admit: AdmitBy, grab: GrabBy, late_ms: int, outcome: str
) -> None:
    sale = sale_at(admission="token", closes_at=10**6)
    set_clock(sale, 5000)
    admitted = admit(sale, "alice")
    assert admitted.expires_at == 5000 + TOKEN_LIVES_MS
    set_clock(sale, admitted.expires_at + late_ms)
    answer = grab(sale, "alice", admitted.token)
    assert answer.outcome == outcome
    assert answer.why == ("" if outcome == "GRANTED" else "token has expired")


def test_a_winner_who_asks_again_needs_no_token(
    sale_at: Install, set_clock: SetClock, admit: AdmitBy, grab: GrabBy
) -> None:
    sale = sale_at(admission="token", stock=1)
    set_clock(sale, 1000)
    won = grab(sale, "alice", admit(sale, "alice").token)
    set_clock(sale, 3000)
    for token in (None, "nonsense"):
        again = grab(sale, "alice", token)
        assert (again.outcome, again.coupon) == ("REPEATED", won.coupon)


def test_with_several_coupons_each_the_key_repeats_without_a_token_and_another_grab_needs_one(
    promotion: Install, admit: AdmitBy, grab: GrabBy
) -> None:
    sale = promotion(admission="token", coupons_per_customer=2)
    token = admit(sale, "alice").token
    assert grab(sale, "alice", token, "k1").outcome == "GRANTED"
    assert grab(sale, "alice", None, "k1").outcome == "REPEATED"
    assert grab(sale, "alice", None, "k2").outcome == "TOKEN_REQUIRED"
    assert grab(sale, "alice", token, "k2").outcome == "GRANTED"


def test_an_open_promotion_asks_for_none_and_minds_none(promotion: Install, grab: GrabBy) -> None:
    sale = promotion()
    told = [grab(sale, "alice"), grab(sale, "bob", "nonsense")]
    assert [answer.outcome for answer in told] == ["GRANTED", "GRANTED"]


def test_who_comes_too_early_or_too_late_hears_so_and_not_that_a_token_is_missing(
    sale_at: Install, set_clock: SetClock, grab: GrabBy
) -> None:
    sale = sale_at(admission="token")
    assert grab(sale, "alice").outcome == "NOT_STARTED"
    set_clock(sale, 2000)
    assert grab(sale, "alice").outcome == "FINISHED"
    over.forget(sale)


def test_a_process_that_knows_nothing_of_tokens_can_let_nobody_pass(
    promotion: Install, store: Redis
) -> None:
    sale = promotion(admission="token")
    assert scripts.run(store, "grab", sale, "alice", "key").outcome == "TOKEN_REQUIRED"


# --- getting one ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "outcome"),
    [(999, "NOT_STARTED"), (1000, "ADMITTED"), (1999, "ADMITTED"), (2000, "FINISHED")],
)
def test_there_is_a_token_from_the_start_to_the_end(
    sale_at: Install, set_clock: SetClock, admit: AdmitBy, at: int, outcome: str
) -> None:
    sale = sale_at(admission="token")
    set_clock(sale, at)
    admitted = admit(sale, "alice")
    assert (admitted.outcome, bool(admitted.token)) == (outcome, outcome == "ADMITTED")
    if outcome == "NOT_STARTED":
        assert (admitted.opens_at, admitted.wait_ms) == (1000, 1)
    over.forget(sale)


def test_a_token_ends_with_its_promotion(
    sale_at: Install, set_clock: SetClock, admit: AdmitBy, grab: GrabBy
) -> None:
    sale = sale_at(admission="token")
    set_clock(sale, 1500)
    admitted = admit(sale, "alice")
    assert admitted.expires_at == 2000
    set_clock(sale, 2000)
    assert grab(sale, "alice", admitted.token).outcome == "FINISHED"
    over.forget(sale)


def test_the_first_to_ask_for_a_token_starts_the_sale(
    sale_at: Install, set_clock: SetClock, admit: AdmitBy, broker: Broker
) -> None:
    sale = sale_at(admission="token")
    set_clock(sale, 1000)
    admit(sale, "alice")
    [started] = broker.published
    assert started.to_dict()["admission"] == "token"


def test_who_holds_a_coupon_gets_a_token_also_after_the_end(
    promotion: Install, admit: AdmitBy, grab: GrabBy
) -> None:
    sale = promotion(admission="token", stock=1)
    grab(sale, "alice", admit(sale, "alice").token)
    assert [admit(sale, name).outcome for name in ("bob", "alice")] == ["SOLD_OUT", "ADMITTED"]


def test_who_asks_for_a_token_when_it_is_over_is_told_without_the_store(
    promotion: Install,
    admit: AdmitBy,
    grab: GrabBy,
    store: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(over, "HOLDS_S", 60)
    sale = promotion(admission="token", stock=1)
    grab(sale, "alice", admit(sale, "alice").token)
    admit(sale, "bob")
    store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))
    assert [admit(sale, name).outcome for name in ("bob", "alice")] == ["SOLD_OUT", "UNKNOWN"]
    over.forget(sale)


def test_a_cancelled_promotion_gives_none(
    aws: None, promotion: Install, admit: AdmitBy, outside: Outside
) -> None:
    sale = promotion(admission="token")
    decide(outside, "cancel", sale)
    assert admit(sale, "alice").outcome == "CANCELLED"
    over.forget(sale)


def test_an_unknown_promotion_is_unknown(admit: AdmitBy) -> None:
    assert admit("never-made", "alice").outcome == "UNKNOWN"


def test_asking_for_tokens_and_grabbing_draw_from_the_same_buckets(
    promotion: Install, admit: AdmitBy, grab: GrabBy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTOMER_RATE", "0.1")
    monkeypatch.setenv("CUSTOMER_BURST", "2")
    config.settings.cache_clear()
    sale = promotion(admission="token")
    assert grab(sale, "alice", admit(sale, "alice").token).outcome == "GRANTED"
    refused = admit(sale, "alice")
    assert (refused.outcome, refused.token) == ("THROTTLED", "")
    assert (0 < refused.wait_ms <= 10_000, [rate.left for rate in refused.rates]) == (True, [0])


def test_keys_are_rotated_without_refusing_anybody(
    promotion: Install, admit: AdmitBy, grab: GrabBy, keys: KeysOf
) -> None:
    sale = promotion(admission="token")
    old = admit(sale, "alice").token
    keys(ONE, TWO)  # every process knows the new key before any signs with it
    assert admit(sale, "bob").token.startswith("one.")
    keys(TWO, ONE)
    new = admit(sale, "bob").token
    assert new.startswith("two.")
    keys(ONE, TWO)  # a process that has not been renewed yet
    assert grab(sale, "bob", new).outcome == "GRANTED"
    keys(TWO, THREE)
    assert grab(sale, "alice", old).outcome == "TOKEN_REQUIRED"
    keys(TWO, ONE)
    assert grab(sale, "alice", old).outcome == "GRANTED"


# --- settings ---------------------------------------------------------------------------------


def test_keys_are_read_in_order_and_never_printed() -> None:
    current = read_settings({"STAGE": "local", "ADMISSION_KEYS": f"{ONE}, {TWO}"})
    assert [key.id for key in current.admission_keys] == ["one", "two"]
    assert current.admission_keys[0].secret == base64.b64decode(ONE.partition(":")[2])
    assert not re.search("secret|" + re.escape(ONE[4:20]), repr(current))
    assert read_settings({"STAGE": "local"}).admission_keys == ()


@pytest.mark.parametrize(
    "value",
    [
        "one", "one:", f":{ONE[4:]}", "one:short", f"one:{'!' * 44}", "one:" + "QUFB" * 10 + "Q",
        "one:" + base64.b64encode(b"k" * 31).decode(), f"{ONE},{ONE}", f"a.b:{ONE[4:]}",
        f"{'x' * 33}:{ONE[4:]}",
    ],
    # Keys are random, and all processes that run tests must give a test the same name.
    ids=["no colon", "no key", "no id", "short", "no base64", "odd base64", "31 bytes", "twice",
         "wrong id", "long id"],
)  # fmt: skip
def test_keys_that_can_not_be_read_are_refused_and_not_shown(value: str) -> None:
    with pytest.raises(InvalidSetting, match="ADMISSION_KEYS") as refused:
        read_settings({"STAGE": "local", "ADMISSION_KEYS": value})
    assert ONE[4:20] not in str(refused.value)


def test_each_local_cloud_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADMISSION_KEYS")
    one, other = (read_settings(_environ(Options())).admission_keys for _ in range(2))
    assert len(one[0].secret) == 32
    assert one != other
