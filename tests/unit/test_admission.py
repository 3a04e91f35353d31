"""Admission by token: none before the start, and of no use to anybody else."""

import base64
import re
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from chalicelib import clients, config, journal
from chalicelib.commands import over, scripts, tokens
from chalicelib.commands.admit import TOKEN_LIVES_MS, Admission, AdmitCustomer, admit_customer
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.grab import Grab, GrabCoupon, grab_coupon
from chalicelib.commands.promotions import find_promotion
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.config import AdmissionKey, InvalidSetting, read_settings
from chalicelib.events import PromotionStarted, parse
from chalicelib.projections import active_promotions
from localstack.cloud import Options, _environ
from tests.unit.conftest import Broker, Http, state_of

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


# --- over HTTP --------------------------------------------------------------------------------


def post(http: Ask, path: str, sale: str, customer: str, **more: Any) -> Http:
    return http("POST", f"/command/{path}", {"promotionId": sale, "customerId": customer, **more})


@pytest.fixture
def token_offer(offer: dict[str, Any]) -> dict[str, Any]:
    return {**offer, "publishTime": clients.store_clock_ms() - 1, "admission": "token"}


@pytest.fixture
def sale(http: Ask, token_offer: dict[str, Any]) -> str:
    return str(http("POST", "/admin/promotions", token_offer).body["promotionId"])


def test_the_answers_of_a_sale_with_tokens(http: Ask, sale: str) -> None:
    given = post(http, "tokens", sale, "alice")
    assert (given.status, set(given.body)) == (201, {"token", "expiresAt"})
    assert given.headers["Cache-Control"] == "no-store"
    left_ms = given.body["expiresAt"] - clients.store_clock_ms()
    assert 0 < left_ms <= TOKEN_LIVES_MS
    token = given.body["token"]
    for body, detail in (({}, "missing"), ({"token": f"{token}x"}, "is not one")):
        refused = post(http, "coupons", sale, "alice", **body)
        assert (refused.status, refused.body["code"]) == (403, "TOKEN_REQUIRED")
        assert detail in refused.body["detail"]
    won = post(http, "coupons", sale, "alice", token=token)
    assert won.status == 201
    again = post(http, "coupons", sale, "alice")
    assert (again.status, again.body) == (200, won.body)


def test_before_the_start_there_is_no_token_and_the_answer_says_when_to_come(
    http: Ask, token_offer: dict[str, Any]
) -> None:
    token_offer["publishTime"] = clients.store_clock_ms() + 60_000
    sale = http("POST", "/admin/promotions", token_offer).body["promotionId"]
    early = post(http, "tokens", sale, "alice")
    assert (early.status, early.body["code"]) == (403, "NOT_STARTED")
    assert early.body["opensAt"] == token_offer["publishTime"]
    assert 58 <= int(early.headers["Retry-After"]) <= 60


def test_what_is_over_unknown_or_lost_is_told_as_to_who_grabs(
    http: Ask, sale: str, store: Redis
) -> None:
    assert post(http, "tokens", "never-made", "alice").status == 404
    store.delete(scripts.key(sale, "promotion"))
    lost = post(http, "tokens", sale, "alice")
    assert (lost.status, lost.body["code"]) == (503, "RECOVERING")


def test_a_cancelled_one_is_gone(http: Ask, sale: str) -> None:
    http("DELETE", f"/admin/promotions/{sale}")
    answer = post(http, "tokens", sale, "alice")
    assert (answer.status, answer.body["code"]) == (410, "CANCELLED")
    over.forget(sale)


def test_too_many_requests_for_tokens_are_429(
    http: Ask, sale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADDRESS_RATE", "0.1")
    monkeypatch.setenv("ADDRESS_BURST", "1")
    config.settings.cache_clear()
    assert post(http, "tokens", sale, "alice").headers["RateLimit"].startswith('"address";r=0;t=')
    refused = post(http, "tokens", sale, "bob")
    assert (refused.status, refused.body["code"]) == (429, "THROTTLED")
    assert 1 <= int(refused.headers["Retry-After"]) <= 10


@pytest.mark.parametrize("token", ["", "a b", "x" * 129, "ä", True, [], {}, 1.5], ids=repr)
def test_a_token_that_can_be_none_is_named(http: Ask, sale: str, token: Any) -> None:
    answer = post(http, "coupons", sale, "alice", token=token)
    assert (answer.status, list(answer.body["errors"])) == (400, ["token"])


@pytest.mark.parametrize("field", ["promotionId", "customerId"])
@pytest.mark.parametrize("value", [None, "", "a b", "x" * 129, 1.5, [], "ä"], ids=repr)
def test_a_bad_id_in_a_request_for_a_token_is_named(http: Ask, field: str, value: Any) -> None:
    body = {"promotionId": "sale", "customerId": "alice", field: value}
    answer = http("POST", "/command/tokens", body)
    assert (answer.status, list(answer.body["errors"])) == (400, [field])


@pytest.mark.parametrize("value", ["closed", "", True, 1, [], {}, "TOKEN"], ids=repr)
def test_a_bad_admission_is_named(http: Ask, token_offer: dict[str, Any], value: Any) -> None:
    answer = http("POST", "/admin/promotions", {**token_offer, "admission": value})
    assert (answer.status, list(answer.body["errors"])) == (400, ["admission"])


def test_a_stage_without_keys_creates_no_such_promotion_and_gives_no_tokens(
    http: Ask, token_offer: dict[str, Any], keys: KeysOf
) -> None:
    keys()
    refused = http("POST", "/admin/promotions", token_offer)
    assert (refused.status, list(refused.body["errors"])) == (400, ["admission"])
    later = {**token_offer, "publishTime": clients.store_clock_ms() + 60_000}
    plain = http("POST", "/admin/promotions", {**later, "admission": "open"})
    assert plain.status == 201
    edited = http("PUT", f"/admin/promotions/{plain.body['promotionId']}", later)
    assert (edited.status, list(edited.body["errors"])) == (400, ["admission"])
    answer = post(http, "tokens", plain.body["promotionId"], "alice")
    assert (answer.status, answer.body["code"]) == (409, "NO_TOKENS")


def test_the_operator_sees_how_customers_are_admitted_and_can_edit_it(
    http: Ask, token_offer: dict[str, Any], store: Redis
) -> None:
    token_offer["publishTime"] = clients.store_clock_ms() + 60_000
    made = http("POST", "/admin/promotions", token_offer).body
    path = f"/admin/promotions/{made['promotionId']}"
    assert (made["admission"], http("GET", path).body["admission"]) == ("token", "token")
    del token_offer["admission"]
    assert "admission" not in http("PUT", path, token_offer).body
    assert "admission" not in state_of(store, made["promotionId"])
    token_offer["admission"] = "token"
    assert http("PUT", path, token_offer).body["admission"] == "token"
    row = find_promotion(made["promotionId"])
    assert row is not None
    assert row.offer().admission == "token"


def test_a_customer_sees_on_sale_that_a_token_is_needed(http: Ask, sale: str) -> None:
    url = clients.sqs().get_queue_url(QueueName="seckill-local-active-promotions")["QueueUrl"]
    for message in clients.sqs().receive_message(QueueUrl=url)["Messages"]:
        active_promotions.on_event(parse(message["Body"]))
    assert http("GET", f"/query/promotions/{sale}").body["admission"] == "token"


def test_a_recovery_keeps_the_door_closed(
    http: Ask, sale: str, store: Redis, outside: Outside, broker: Broker
) -> None:
    url = clients.sqs().get_queue_url(QueueName="seckill-local-journal")["QueueUrl"]
    [message] = clients.sqs().receive_message(QueueUrl=url)["Messages"]
    started = parse(message["Body"])
    assert isinstance(started, PromotionStarted)
    assert started.admission == "token"
    journal.append(started)
    store.delete(*(scripts.key(sale, part) for part in scripts.PARTS))
    while (
        done := recover_promotion(sale, outside, Repair(lambda _: True, lambda _: None))
    ).outcome == "WAITING":
        pass
    assert done.outcome == "RECOVERED"
    assert post(http, "coupons", sale, "alice").body["code"] == "TOKEN_REQUIRED"
    token = post(http, "tokens", sale, "alice").body["token"]
    assert post(http, "coupons", sale, "alice", token=token).status == 201


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
