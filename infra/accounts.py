"""Accounts of a stage's user pool: the first operator, and tokens to try things with.

`python -m infra.accounts make dev you@example.com --admin 1` makes one, or gives it another
password; `python -m infra.accounts token dev you@example.com` prints its ID token. The password is
asked for, or is PASSWORD in the environment; it is in no argument and no output.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from getpass import getpass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.door.identity import ADMIN_GROUP
from infra import stack, stage
from infra.account import account
from infra.arguments import yes_or_no
from infra.faults import DeployFault, told_in_one_line

_NEEDED = ("UserPoolId", "UserPoolClientId")


def pool_of(outputs: Mapping[str, str]) -> tuple[str, str]:
    """The ids of the user pool and of its app client, by the outputs of a stage's stack.

    Raises:
        DeployFault: the stack has none.
    """
    missing = [name for name in _NEEDED if not outputs.get(name)]
    if missing:
        message = (
            f"there is no user pool: the stack has no output {', '.join(missing)}; deploy it first"
        )
        raise DeployFault(message)
    return outputs["UserPoolId"], outputs["UserPoolClientId"]


def create(cognito: Any, pool_id: str, email: str) -> None:
    """Make an account that can't sign in yet; nobody is written to."""
    cognito.admin_create_user(
        UserPoolId=pool_id,
        Username=email,
        MessageAction="SUPPRESS",
        UserAttributes=[
            {"Name": "email", "Value": email},
            {"Name": "email_verified", "Value": "true"},
        ],
    )


def let_in(cognito: Any, pool_id: str, email: str, password: str, group: str | None) -> None:
    """Give an account a password that stays, and put it into a group."""
    cognito.admin_set_user_password(
        UserPoolId=pool_id, Username=email, Password=password, Permanent=True
    )
    if group is not None:
        cognito.admin_add_user_to_group(UserPoolId=pool_id, Username=email, GroupName=group)


def id_token(cognito: Any, pool: tuple[str, str], email: str, password: str) -> str:
    """Sign in; returns the ID token: API Gateway takes no access token where no scopes are set.

    Raises:
        DeployFault: it asks for more than a password.
    """
    answer = cognito.admin_initiate_auth(
        UserPoolId=pool[0],
        ClientId=pool[1],
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": email, "PASSWORD": password},
    )
    if "AuthenticationResult" not in answer:
        message = f"signing in to the user pool asks for more than a password: {answer.get('ChallengeName')}"  # noqa: E501
        raise DeployFault(message)
    return str(answer["AuthenticationResult"]["IdToken"])


def subject(cognito: Any, pool_id: str, email: str) -> str:
    """What tokens and coupons call the account: its `sub`."""
    found = cognito.admin_get_user(UserPoolId=pool_id, Username=email)
    return str({one["Name"]: one["Value"] for one in found["UserAttributes"]}["sub"])


def make(cognito: Any, pool_id: str, email: str, password: str, *, admin: bool) -> str:
    """Make an account, or change one that is there; returns its subject.

    Raises:
        DeployFault: the user pool refuses, for instance because the password is too simple.
    """
    with told_in_one_line():
        try:
            create(cognito, pool_id, email)
        except ClientError as error:
            if error.response["Error"].get("Code") != "UsernameExistsException":
                raise
        let_in(cognito, pool_id, email, password, ADMIN_GROUP if admin else None)
        return subject(cognito, pool_id, email)


def main() -> int:
    """Make an account, or print a token; 1 if it can't be done."""
    parser = argparse.ArgumentParser(prog="python -m infra.accounts", description=__doc__)
    parser.add_argument("what", choices=("make", "token"))
    parser.add_argument("stage")
    parser.add_argument("email")
    parser.add_argument("--admin", type=yes_or_no, default=False, metavar="1|0",
                        help="an operator, who may use /admin")  # fmt: skip
    given = parser.parse_args()
    try:
        session = account(stage.read(), given.stage)
        with told_in_one_line():
            cloudformation = session.client("cloudformation")
            pool = pool_of(stack.outputs(cloudformation, f"seckill-{given.stage}"))
            cognito = session.client("cognito-idp")
            password = os.environ.get("PASSWORD") or getpass(f"password of {given.email}: ")
            if given.what == "token":
                print(id_token(cognito, pool, given.email, password))
                return 0
        found = make(cognito, pool[0], given.email, password, admin=given.admin)
    except DeployFault as fault:
        print(f"seckill: {fault}", file=sys.stderr)
        return 1
    now = "is an operator" if given.admin else "has an account"
    print(f"{given.email} {now} of {given.stage}, with the id {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
