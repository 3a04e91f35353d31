"""Where a stage is: the account and region that deploying, destroying and trying it go to."""

from typing import Any, cast

import boto3
from botocore.exceptions import NoRegionError

from infra import adopt, stage
from infra.faults import DeployFault, told_in_one_line

# The stage for LocalStack: the store is one that runs already, REDIS_URL; nobody asks for tokens.
LOCAL = "local"


def account(config: dict[str, Any], name: str) -> boto3.Session:
    """A session in the account and region where the stage is, or may be made.

    Raises:
        DeployFault: there is no such stage, it is elsewhere, or the credentials are not good.
    """
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
