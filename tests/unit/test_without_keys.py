"""A process that has lost its admission keys: what it can't check is not a customer's fault."""

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import clients, config
from tests.unit.conftest import Http, metrics
from tests.unit.test_admission import ONE

Ask = Callable[..., Http]
Lose = Callable[[], None]


@pytest.fixture
def sale(http: Ask, offer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ADMISSION_KEYS", ONE)
    config.settings.cache_clear()
    asked = {**offer, "publishTime": clients.store_clock_ms() - 1, "admission": "token"}
    return str(http("POST", "/admin/promotions", asked).body["promotionId"])


@pytest.fixture
def lose_the_keys(monkeypatch: pytest.MonkeyPatch) -> Lose:
    def lose() -> None:
        monkeypatch.delenv("ADMISSION_KEYS")
        config.settings.cache_clear()

    return lose


def post(http: Ask, what: str, sale: str, **more: str) -> Http:
    body = {"promotionId": sale, "customerId": "alice", **more}
    return http("POST", f"/command/{what}", body)


def test_a_good_token_is_not_called_bad(
    http: Ask, sale: str, lose_the_keys: Lose, capsys: pytest.CaptureFixture[str]
) -> None:
    token = post(http, "tokens", sale).body["token"]
    lose_the_keys()
    answer = post(http, "coupons", sale, token=token)
    assert (answer.status, answer.body["code"]) == (503, "TOKENS_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"
    [line] = metrics(capsys.readouterr().out, "grabs")
    assert line["outcome"] == "TOKENS_UNAVAILABLE"
    missing = post(http, "coupons", sale)
    assert (missing.status, missing.body["code"]) == (403, "TOKEN_REQUIRED")


def test_a_winner_is_told_of_their_coupon_all_the_same(
    http: Ask, sale: str, lose_the_keys: Lose
) -> None:
    token = post(http, "tokens", sale).body["token"]
    won = post(http, "coupons", sale, token=token)
    lose_the_keys()
    again = post(http, "coupons", sale, token=token)
    assert (again.status, again.body) == (200, won.body)


def test_who_asks_for_a_token_is_asked_to_come_back(
    http: Ask, sale: str, lose_the_keys: Lose
) -> None:
    lose_the_keys()
    answer = post(http, "tokens", sale)
    assert (answer.status, answer.body["code"]) == (503, "TOKENS_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"
