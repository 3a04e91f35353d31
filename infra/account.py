"""Where a stage is: the account and region that deploying, destroying and trying it go to."""

import os
from typing import Any, cast

import boto3
from botocore.exceptions import NoRegionError

from infra import adopt, stage
from infra.faults import DeployFault, told_in_one_line

# The stage for LocalStack: the store is one that runs already, REDIS_URL; nobody asks for tokens.
LOCAL = "local"


def refuse_open_in_the_cloud(name: str) -> None:
    """The local stage lets everybody in, and without an endpoint it would be made in the account.

    Raises:
        DeployFault: it is the local stage, and there is no emulator.
    """
    # With the second, boto3 would not look at the first.
    ignored = os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
    if name == LOCAL and (ignored or not os.environ.get("AWS_ENDPOINT_URL")):
        message = f"stage {name} is open to everybody, so it is for an emulator only: set AWS_ENDPOINT_URL; nothing was changed"  # noqa: E501
        raise DeployFault(message)


def account(config: dict[str, Any], name: str) -> boto3.Session:
    """A session in the account and region where the stage is, or may be made.

    Raises:
        DeployFault: there is no such stage, it is elsewhere or would be open there, or the
            credentials are not good.
    """
    refuse_open_in_the_cloud(name)
    home = stage.home(config, name)
    session = boto3.Session()
    with told_in_one_line():
        if session.region_name is None:
            raise NoRegionError
        here = (session.region_name, session.client("sts").get_caller_identity()["Account"])
    if home is not None and home != here:
        message = f"{name} is in {home[0]} of account {home[1]}, and you are in {here[0]} of {here[1]}: nothing was changed"  # noqa: E501
        raise DeployFault(message)
    return session


def client_of(session: boto3.Session) -> adopt.Client:
    """What makes the session's client of a service, by the service's name."""
    make: Any = session.client
    return cast("adopt.Client", make)
