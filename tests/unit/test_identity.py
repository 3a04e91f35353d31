"""Who may do what: every route, with every kind of token there is."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

import app as entry_points
from chalicelib import config
from chalicelib.config import InvalidSetting, read_settings
from chalicelib.door.identity import AUDIENCE, ISSUER
from chalicelib.door.operations import OPERATIONS
from localstack import tokens
from localstack.tokens import local_key, token
from tests.unit.conftest import Http

Ask = Callable[..., Http]
KEY = "a key of a test that is long enough for HMAC"
POOL = "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_a"
OTHER_KEY = "another key that is as long as that of the test"
IN_PATHS = {"promotion_id": "p", "customer_id": "alice", "item_id": "i", "coupon_id": "p-1",
            "queue": "journal"}  # fmt: skip


@pytest.fixture
def guarded(http: Ask, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The app where it asks for tokens."""
    monkeypatch.setenv("AUTH", "jwt")
    monkeypatch.setenv("JWT_KEY", KEY)
    config.settings.cache_clear()
    return http


def without_signature(subject: str) -> str:
    """What `alg: none` looks like."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": time.time() + 60,
              "cognito:groups": ["admin"]}  # fmt: skip
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    head, body = (base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=")
                  for p in parts)  # fmt: skip
    return f"{head}.{body}."


def signed(**changes: Any) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 60,
              "cognito:groups": ["admin"]}  # fmt: skip
    kept = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(kept, KEY, algorithm="HS256")


NOBODY = {
    "no token": None,
    "no bearer": "Basic YWxpY2U6c2VjcmV0",
    "rubbish": "Bearer a.b.c",
    "empty": "Bearer ",
    "expired": f"Bearer {token(KEY, 'alice', admin=True, lives_s=-5)}",
    "another key": f"Bearer {token(OTHER_KEY, 'alice', admin=True)}",
    "alg none": f"Bearer {without_signature('alice')}",
    "another issuer": f"Bearer {signed(iss='another pool')}",
    "another audience": f"Bearer {signed(aud='another app')}",
    "no expiry": f"Bearer {signed(exp=None)}",
    "no subject": f"Bearer {signed(sub=None)}",
    "empty subject": f"Bearer {signed(sub='')}",
}


def send(ask: Ask, name: str, authorization: str | None) -> Http:
    method, path = name.split(" ")
    filled = path.format(**IN_PATHS)
    body = {"customerId": "alice", "promotionId": "p"} if "/command/" in path else {}
    more = {} if authorization is None else {"authorization": authorization}
    return ask(method, filled, body if method in ("POST", "PUT", "DELETE") else None, **more)


GUARDED = sorted(name for name, operation in OPERATIONS.items() if operation.who != "anyone")
OF_ADMINS = sorted(name for name, operation in OPERATIONS.items() if operation.who == "admin")
OF_CUSTOMERS = sorted(name for name, op in OPERATIONS.items() if op.who == "customer")


@pytest.mark.parametrize("name", GUARDED)
def test_nobody_gets_in_without_a_valid_token(guarded: Ask, name: str) -> None:
    for what, authorization in NOBODY.items():
        answer = send(guarded, name, authorization)
        assert (answer.status, answer.body["code"]) == (401, "UNAUTHORIZED"), what
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("name", OF_ADMINS)
def test_an_operators_route_is_closed_to_customers(guarded: Ask, name: str) -> None:
    answer = send(guarded, name, f"Bearer {token(KEY, 'alice')}")
    assert (answer.status, answer.body["code"]) == (403, "FORBIDDEN")
    opened = send(guarded, name, f"Bearer {token(KEY, 'boss', admin=True)}")
    assert opened.status not in (401, 403)


@pytest.mark.parametrize("name", OF_CUSTOMERS)
def test_nobody_acts_for_another_customer(guarded: Ask, name: str) -> None:
    for other in (token(KEY, "mallory"), token(KEY, "boss", admin=True)):
        answer = send(guarded, name, f"Bearer {other}")
        assert (answer.status, answer.body["code"]) == (403, "FORBIDDEN")
        assert answer.body["errors"] == {"customerId": "is another customer's"}
    own = send(guarded, name, f"Bearer {token(KEY, 'alice')}")
    assert own.status not in (401, 403)


OWN = {"authorization": f"Bearer {token(KEY, '1')}"}


@pytest.mark.parametrize("own", ["1", 1, 1.0, None])
def test_an_old_client_may_send_its_own_id_as_a_number_or_as_nothing(
    guarded: Ask, own: Any
) -> None:
    answer = guarded("POST", "/command/coupons", {"promotionId": "p", "customerId": own}, **OWN)
    assert (answer.status, answer.body["code"]) == (404, "UNKNOWN_PROMOTION")


@pytest.mark.parametrize("given", [["1"], {}, True, "", "a b", 1.5])
def test_what_is_nobodys_id_is_a_fault_and_not_another_customer(guarded: Ask, given: Any) -> None:
    answer = guarded("POST", "/command/coupons", {"promotionId": "p", "customerId": given}, **OWN)
    assert (answer.status, list(answer.body["errors"])) == (400, ["customerId"])


# The page of /docs is no JSON: test_openapi.py has it.
@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - set(GUARDED) - {"GET /docs"}))
def test_what_is_for_everybody_needs_no_token(guarded: Ask, name: str) -> None:
    assert send(guarded, name, None).status not in (401, 403)


def test_with_a_token_the_customer_is_its_subject(guarded: Ask, offer: dict[str, Any]) -> None:
    boss = {"authorization": f"Bearer {token(KEY, 'boss', admin=True)}"}
    alice = {"authorization": f"Bearer {token(KEY, 'alice')}"}
    offer |= {"publishTime": 0, "holdSeconds": 60}
    sale = guarded("POST", "/admin/promotions", offer, **boss).body["promotionId"]
    won = guarded("POST", "/command/coupons", {"promotionId": sale}, **alice)
    assert (won.status, won.body["customerId"]) == (201, "alice")
    path = f"/command/coupons/{won.body['couponId']}"
    bob = {"authorization": f"Bearer {token(KEY, 'bob')}"}
    assert guarded("POST", f"{path}/payment", {}, **bob).body["code"] == "UNKNOWN_COUPON"
    assert guarded("DELETE", path, **bob).body["code"] == "UNKNOWN_COUPON"
    assert guarded("POST", f"{path}/payment", {}, **alice).body["state"] == "PAID"


def test_a_token_that_was_good_a_moment_ago_expires_all_the_same(
    guarded: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = f"Bearer {token(KEY, 'boss', admin=True, lives_s=60)}"
    assert guarded("GET", "/admin/promotions", authorization=short).status == 200
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    assert guarded("GET", "/admin/promotions", authorization=short).status == 401


def lambda_event(method: str, path: str, claims: dict[str, Any] | None, body: Any = None) -> Any:
    """What API Gateway sends after its Cognito authorizer has looked at the token."""
    context: dict[str, Any] = {"resourcePath": path, "httpMethod": method, "requestId": "r-1"}
    if claims is not None:
        context["authorizer"] = {"claims": claims}
    return {
        "requestContext": context,
        "headers": {"content-type": "application/json"},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        (None, 401),
        ({}, 401),
        ({"sub": "alice"}, 403),
        ({"sub": "alice", "cognito:groups": "customers"}, 403),
        ({"sub": "alice", "cognito:groups": "administrators,not-admin"}, 403),
        ({"sub": "boss", "cognito:groups": "admin"}, 200),
        ({"sub": "boss", "cognito:groups": "customers,admin"}, 200),
        ({"sub": "boss", "cognito:groups": "[customers admin]"}, 200),
    ],
)
def test_in_the_cloud_the_gateways_claims_count(
    aws: None, claims: dict[str, Any] | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTH", "cognito")
    monkeypatch.setenv("USER_POOL_ARN", POOL)
    config.settings.cache_clear()
    answer = entry_points.app(lambda_event("GET", "/admin/promotions", claims), None)
    assert answer["statusCode"] == status


def test_a_header_that_only_looks_like_a_token_counts_for_nothing_in_the_cloud(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTH", "cognito")
    monkeypatch.setenv("USER_POOL_ARN", POOL)
    monkeypatch.setenv("JWT_KEY", KEY)
    config.settings.cache_clear()
    event = lambda_event("GET", "/admin/promotions", None)
    event["headers"]["authorization"] = f"Bearer {token(KEY, 'boss', admin=True)}"
    assert entry_points.app(event, None)["statusCode"] == 401


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"STAGE": "dev", "AUTH": "open"}, "local stage only"),
        ({"STAGE": "prod", "AUTH": "jwt", "JWT_KEY": KEY}, "local stage only"),
        ({"STAGE": "dev"}, "USER_POOL_ARN is missing: stage 'dev'"),
        ({"STAGE": "dev", "USER_POOL_ARN": ""}, "USER_POOL_ARN is missing"),
        ({"STAGE": "local", "AUTH": "cognito"}, "USER_POOL_ARN is missing"),
        ({"STAGE": "local", "AUTH": "jwt"}, "JWT_KEY"),
        ({"STAGE": "local", "AUTH": "jwt", "JWT_KEY": "short"}, "JWT_KEY"),
        ({"STAGE": "local", "AUTH": "none"}, "AUTH"),
        ({"STAGE": "Local", "AUTH": "open"}, "local stage only"),
        ({"STAGE": "local", "AWS_LAMBDA_FUNCTION_NAME": "f"}, "AUTH=open is for this machine"),
        (
            {"STAGE": "local", "AUTH": "jwt", "JWT_KEY": KEY, "AWS_LAMBDA_FUNCTION_NAME": "f"},
            "AUTH=jwt is for this machine",
        ),
    ],
)
def test_a_stage_that_would_be_open_does_not_start(environ: dict[str, str], word: str) -> None:
    with pytest.raises(InvalidSetting, match=word):
        read_settings(environ)


def test_an_emulator_of_lambda_may_be_open() -> None:
    emulated = {"STAGE": "local", "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_ENDPOINT_URL": "http://a"}
    assert read_settings(emulated).auth == "open"


def test_what_is_not_local_asks_for_tokens_unless_told_otherwise() -> None:
    assert read_settings({"STAGE": "local"}).auth == "open"
    assert read_settings({"STAGE": "dev", "USER_POOL_ARN": POOL}).auth == "cognito"


def test_the_local_key_is_made_once_and_for_its_owner_only(tmp_path: Any) -> None:
    file = tmp_path / "folder" / "jwt.key"
    key = local_key(file)
    assert local_key(file) == key
    assert len(key) >= 32
    assert file.stat().st_mode & 0o077 == 0


def groups_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert tokens.main(arguments) == 0
    printed = capsys.readouterr().out.strip()
    claims = jwt.decode(printed, local_key(), algorithms=["HS256"], audience=AUDIENCE)
    return list(claims.get("cognito:groups", []))


@pytest.mark.parametrize("word", ["1", "yes", "true", "TRUE"])
def test_an_operators_token_is_made_for_who_says_yes(
    capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert groups_of(capsys, "--customer", "alice", "--admin", word) == ["admin"]


@pytest.mark.parametrize("word", ["0", "no", "false", ""])
def test_who_says_no_gets_a_customers_token(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert groups_of(capsys, "--customer", "alice", "--admin", word) == []
    assert groups_of(capsys, "--customer", "alice") == []
    assert tokens.main(["--admin", word]) == 1


@pytest.mark.parametrize("word", ["maybe", "2", "00", " "])
def test_who_says_neither_gets_no_token(capsys: pytest.CaptureFixture[str], word: str) -> None:
    with pytest.raises(SystemExit):
        tokens.main(["--customer", "alice", "--admin", word])
    assert capsys.readouterr().out == ""
