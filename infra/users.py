"""Two users who live as long as a smoke test: an operator and a customer of a stage's user pool.

Their passwords and tokens are in this process only.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.door.identity import ADMIN_GROUP
from infra import accounts
from infra.faults import DENIED, DeployFault, told_in_one_line


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
    pool = _Pool(cognito, *accounts.pool_of(outputs))
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
        accounts.let_in(self.cognito, self.pool_id, name, password, group)
        pool = (self.pool_id, self.client_id)
        token = accounts.id_token(self.cognito, pool, name, password)
        return User(accounts.subject(self.cognito, self.pool_id, name), token)

    def _make(self, name: str) -> None:
        self.names.append(name)  # before it is made: an answer may get lost
        try:
            accounts.create(self.cognito, self.pool_id, name)
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
