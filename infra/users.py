"""Two users who live as long as a smoke test: an operator and a customer of a stage's user pool.

Their passwords and tokens are in this process only.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.faults import DENIED, DeployFault, told_in_one_line

ADMIN_GROUP = "admin"  # chalicelib/door/identity.py


@dataclass(frozen=True, slots=True)
class User:
    """Who signed in: the subject of their token, and the token itself, which is not shown."""

    subject: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Users:
    """Who tries a sale."""

    operator: User
    customer: User


@contextmanager
def throwaway(cognito: Any, outputs: Mapping[str, str]) -> Iterator[Users]:
    """Make the two, sign them in, and delete them whatever happens.

    outputs: of the stage's stack.

    Raises:
        DeployFault: the stack has no user pool, the credentials may not make users, signing in asks
            for more than a password, or a user could not be deleted; the message names them.
    """
    missing = [name for name in ("UserPoolId", "UserPoolClientId") if not outputs.get(name)]
    if missing:
        message = f"no users can be made to try it with: the stack has no output {', '.join(missing)}; deploy it first"  # noqa: E501
        raise DeployFault(message)
    pool = _Pool(cognito, outputs["UserPoolId"], outputs["UserPoolClientId"])
    try:
        with told_in_one_line():
            users = Users(pool.sign_up(ADMIN_GROUP), pool.sign_up())
        yield users
    finally:
        pool.clear()


@dataclass(frozen=True, slots=True)
class _Pool:
    cognito: Any
    pool_id: str
    client_id: str
    names: list[str] = field(default_factory=list)

    def sign_up(self, group: str | None = None) -> User:
        # Nobody is written to: the address is of a domain that nobody has, and the invitation is
        # suppressed.
        name = f"smoke-{secrets.token_hex(12)}@example.com"
        password = f"{secrets.token_urlsafe(32)}-aA1"
        self._make(name)
        self.cognito.admin_set_user_password(
            UserPoolId=self.pool_id, Username=name, Password=password, Permanent=True
        )
        if group is not None:
            self.cognito.admin_add_user_to_group(
                UserPoolId=self.pool_id, Username=name, GroupName=group
            )
        answer = self.cognito.admin_initiate_auth(
            UserPoolId=self.pool_id,
            ClientId=self.client_id,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": name, "PASSWORD": password},
        )
        if "AuthenticationResult" not in answer:
            message = f"signing in to the user pool asks for more than a password: {answer.get('ChallengeName')}"  # noqa: E501
            raise DeployFault(message)
        found = self.cognito.admin_get_user(UserPoolId=self.pool_id, Username=name)
        attributes = {one["Name"]: one["Value"] for one in found["UserAttributes"]}
        return User(attributes["sub"], answer["AuthenticationResult"]["IdToken"])

    def _make(self, name: str) -> None:
        self.names.append(name)  # before it is made: an answer may get lost
        try:
            self.cognito.admin_create_user(
                UserPoolId=self.pool_id,
                Username=name,
                MessageAction="SUPPRESS",
                UserAttributes=[
                    {"Name": "email", "Value": name},
                    {"Name": "email_verified", "Value": "true"},
                ],
            )
        except ClientError as error:
            if error.response["Error"].get("Code") in DENIED:
                self.names.remove(name)
            raise

    def clear(self) -> None:
        left = []
        for name in self.names:
            try:
                with suppress(self.cognito.exceptions.UserNotFoundException):
                    self.cognito.admin_delete_user(UserPoolId=self.pool_id, Username=name)
            except (BotoCoreError, ClientError):
                left.append(name)
        if left:
            message = f"delete these users of the pool {self.pool_id} yourself, it could not be done: {', '.join(left)}"  # noqa: E501
            raise DeployFault(message)
