"""The smoke test, over HTTP: on an open sale, and on one that asks for tokens of a user pool."""

import json
import re
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import boto3
import jwt
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws

from infra import smoke, users
from infra.faults import DeployFault
from infra.http import Sale

Answers = dict[tuple[str, str], tuple[int, Any]]
COUPON = {"couponId": "p1-1"}
WELL: Answers = {
    ("GET", "/health"): (200, {"store": "ok", "broker": "ok", "tables": "ok"}),
    ("GET", "/query/time"): (200, {"now": 1}),
    ("GET", "/admin/promotions"): (200, []),
    ("POST", "/admin/promotions"): (201, {"promotionId": "p1"}),
    ("DELETE", "/admin/promotions/{id}"): (200, {}),
    ("POST", "/command/coupons"): (201, COUPON),
    ("GET", "/query/promotions/{id}/coupons"): (200, [COUPON]),
}
FOR_ANYONE = ("/health", "/query/time")
FOR_CUSTOMERS = ("/command/coupons",)


class Shop(BaseHTTPRequestHandler):
    """A sale that answers as told; a coupon is the first time a 201, then a 200.

    Where `guarded`, it looks at tokens as API Gateway and the app do together.
    """

    answers: Answers
    guarded: bool
    seen: list[tuple[str, str]]

    def do_GET(self) -> None:
        path = self.path.replace("p1", "{id}")
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.answers[self.command, path]
        if self.guarded and path not in FOR_ANYONE:
            status, body = self.looked_at(path, json.loads(asked or "{}"), status, body)
        if status == 201 and (self.command, path) in self.seen and path in FOR_CUSTOMERS:
            status = 200
        self.seen.append((self.command, path))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    do_POST = do_DELETE = do_GET  # noqa: N815

    def looked_at(
        self, path: str, asked: Mapping[str, Any], status: int, body: Any
    ) -> tuple[int, Any]:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return 401, {"message": "Unauthorized"}
        claims = jwt.decode(token, options={"verify_signature": False})
        if claims["token_use"] != "id":  # noqa: S105 - what an authorizer without scopes takes
            return 401, {"message": "Unauthorized"}
        if path not in FOR_CUSTOMERS:
            return (status, body) if claims.get("cognito:groups") == ["admin"] else (403, {})
        if asked["customerId"] != claims["sub"]:
            return 403, {"errors": {"customerId": "is another customer's"}}
        mine = COUPON | {"customerId": claims["sub"]}
        self.answers["GET", "/query/promotions/{id}/coupons"] = (200, [mine])
        return status, body | mine

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sale]:
    for name, value in (("answers", dict(WELL)), ("guarded", False), ("seen", [])):
        monkeypatch.setattr(Shop, name, value, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield Sale(f"http://127.0.0.1:{running.server_address[1]}")
        running.shutdown()


@pytest.fixture
def cognito() -> Iterator[Any]:
    with mock_aws():
        make: Any = boto3.client
        yield make("cognito-idp")


@pytest.fixture
def outputs(cognito: Any) -> dict[str, str]:
    """Of a stack whose user pool is as the template has it."""
    pool = cognito.create_user_pool(
        PoolName="seckill-dev",
        AdminCreateUserConfig={"AllowAdminCreateUserOnly": True},
        UsernameAttributes=["email"],
        Policies={"PasswordPolicy": {"MinimumLength": 12, "RequireLowercase": True,
                                     "RequireUppercase": True, "RequireNumbers": True}},
    )["UserPool"]["Id"]  # fmt: skip
    cognito.create_group(UserPoolId=pool, GroupName="admin")
    client = cognito.create_user_pool_client(
        UserPoolId=pool,
        ClientName="seckill-dev",
        ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    )["UserPoolClient"]["ClientId"]
    return {"UserPoolId": pool, "UserPoolClientId": client}


def left(cognito: Any, outputs: Mapping[str, str]) -> list[str]:
    found = cognito.list_users(UserPoolId=outputs["UserPoolId"])["Users"]
    return [user["Username"] for user in found]


def steps(said: list[str]) -> list[str]:
    return [re.sub(r"^ *(ok|FAILED) *", "", line).split(":")[0] for line in said]


def test_on_an_open_sale_anybody_grabs(shop: Sale) -> None:
    said: list[str] = []
    assert smoke.run(smoke.smoke(shop), said.append)
    assert steps(said) == ["health", "create", "grab", "read", "cancel"]


def test_it_names_the_step_that_failed_and_cleans_up(shop: Sale) -> None:
    Shop.answers["POST", "/command/coupons"] = (200, COUPON)
    said: list[str] = []
    assert smoke.run(smoke.smoke(shop), said.append) is False  # the first grab must be a 201
    assert steps(said) == ["health", "create", "grab"]
    assert "FAILED  grab: (200, {'couponId': 'p1-1'}), not 201" in said[-1]
    assert Shop.seen[-1] == ("DELETE", "/admin/promotions/{id}")


def test_where_tokens_are_asked_for_two_users_try_it_and_are_gone_afterwards(
    shop: Sale, cognito: Any, outputs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shop, "guarded", True)
    said: list[str] = []
    assert smoke.run(smoke.as_users(shop, cognito, outputs), said.append), said[-1]
    assert steps(said) == [
        "users", "health", "doors", "create", "grab", "read", "cancel", "users",
    ]  # fmt: skip
    assert left(cognito, outputs) == []


def test_a_sale_that_lets_everybody_in_where_it_should_ask_does_not_pass(
    shop: Sale, cognito: Any, outputs: dict[str, str]
) -> None:
    said: list[str] = []
    assert smoke.run(smoke.as_users(shop, cognito, outputs), said.append) is False
    assert "FAILED  an operator's list without a token: 200, not 401" in said[-1]
    assert left(cognito, outputs) == []


@pytest.mark.parametrize("step", [("POST", "/admin/promotions"), ("POST", "/command/coupons")])
def test_users_are_gone_also_when_a_step_fails(
    shop: Sale,
    cognito: Any,
    outputs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    step: tuple[str, str],
) -> None:
    monkeypatch.setattr(Shop, "guarded", True)
    Shop.answers[step] = (503, {})
    said: list[str] = []
    assert smoke.run(smoke.as_users(shop, cognito, outputs, 0.1), said.append) is False
    assert "503" in said[-1]
    assert left(cognito, outputs) == []


def test_users_are_gone_also_when_it_is_interrupted(cognito: Any, outputs: dict[str, str]) -> None:
    there: list[int] = []

    def interrupt(_: str) -> None:
        there.append(len(left(cognito, outputs)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as told:
        smoke.run(smoke.as_users(Sale("http://127.0.0.1:9"), cognito, outputs), interrupt)
    assert (there, left(cognito, outputs)) == ([2], [])
    assert told.tb, "what keeps the steps from being forgotten, and so closed, by themselves"


def test_what_signs_in_is_never_shown_and_says_who_they_are(
    cognito: Any, outputs: dict[str, str]
) -> None:
    with users.throwaway(cognito, outputs) as made:
        for user, groups in ((made.operator, ["admin"]), (made.customer, None)):
            claims = jwt.decode(user.token, options={"verify_signature": False})
            assert (claims["sub"], claims.get("cognito:groups")) == (user.subject, groups)
            assert user.token not in repr(made) + repr(Sale("u").signed_in(user.token))
    assert left(cognito, outputs) == []


@pytest.mark.parametrize("name", ["UserPoolId", "UserPoolClientId"])
def test_without_a_user_pool_it_says_so(cognito: Any, outputs: dict[str, str], name: str) -> None:
    del outputs[name]
    with pytest.raises(DeployFault, match=f"no output {name}; deploy it first"):
        users.throwaway(cognito, outputs).__enter__()


@pytest.fixture
def refusing() -> Iterator[tuple[Any, Stubber]]:
    make: Any = boto3.client
    client = make("cognito-idp")
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


POOL = {"UserPoolId": "us-east-1_a", "UserPoolClientId": "client"}


def refused(client: Any) -> str:
    said: list[str] = []
    assert smoke.run(smoke.as_users(Sale("http://127.0.0.1:9"), client, POOL), said.append) is False
    assert "\n" not in said[-1]
    return said[-1]


def test_credentials_that_may_make_no_users_are_named_and_nothing_is_deleted(
    refusing: tuple[Any, Stubber],
) -> None:
    client, answers = refusing
    answers.add_client_error("admin_create_user", "AccessDeniedException", "not you")
    assert "these credentials may not do AdminCreateUser" in refused(client)


@pytest.mark.parametrize("deletes", [True, False])
def test_a_user_who_can_not_sign_in_is_deleted_or_told(
    refusing: tuple[Any, Stubber],
    deletes: bool,  # noqa: FBT001
) -> None:
    client, answers = refusing
    answers.add_response("admin_create_user", {})
    answers.add_response("admin_set_user_password", {})
    answers.add_response("admin_add_user_to_group", {})
    answers.add_response("admin_initiate_auth", {"ChallengeName": "SMS_MFA"})
    if deletes:
        answers.add_response("admin_delete_user", {}, {"UserPoolId": ANY, "Username": ANY})
        assert "asks for more than a password: SMS_MFA" in refused(client)
    else:
        answers.add_client_error("admin_delete_user", "AccessDeniedException", "not you")
        assert re.search(r"delete these users .*: smoke-\w+@example.com", refused(client))
