"""Take a stage down, with all its data: `python -m infra.destroy dev`; prod wants CONFIRM=prod."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from infra import adopt, edge, stack, stage
from infra.account import LOCAL, account, client_of
from infra.deploy import NO_POOL, api_of, run_chalice, say, stack_names, stage_arn
from infra.faults import DeployFault, told_in_one_line
from infra.keys import parameter
from infra.package import ROOT
from infra.policies import GRANTS, log_group

_ASKS_FIRST = ("prod",)


def destroy(name: str, confirmed: str) -> None:
    """Delete the stage's functions, API and stacks, in whatever state they are.

    Raises:
        DeployFault: it was not confirmed, it is protected (then nothing was changed), or something
            could not be deleted; again is safe.
    """
    config = stage.read()
    if name in _ASKS_FIRST and confirmed != name:
        message = f"this deletes all of {name} with its data: say CONFIRM={name}"
        raise DeployFault(message)
    session = account(config, name)
    if name != LOCAL:
        refuse_what_is_protected(client_of(session), name)
    with told_in_one_line():
        adopt.adopt(client_of(session), ROOT, name)
    api = api_of(config, name)
    if api is not None and name != LOCAL:
        edge.unguard(session.client("wafv2"), stage_arn(session, api))
    if adopt.noted(ROOT, name):
        run_chalice("delete", name, NO_POOL)
    for full in reversed(stack_names(name)):
        stack.remove(session.client("cloudformation"), full, say)
    forget_logs(session.client("logs"), name)
    stage.write(stage.without_outputs(stage.read(), name))
    say(f"{name} is gone; keys of admission tokens are left, if there were any: {parameter(name)}")


def refuse_what_is_protected(client: adopt.Client, name: str) -> None:
    """Half of a stage is worse than none: so look before anything is taken away.

    Raises:
        DeployFault: a table or the user pool can't be deleted.
    """
    cloudformation, full = client("cloudformation"), stack_names(name)[0]
    dynamodb, cognito = client("dynamodb"), client("cognito-idp")
    protected = []
    with told_in_one_line():
        for table in stack.parts(cloudformation, full, "AWS::DynamoDB::Table"):
            found = _found(dynamodb.describe_table, TableName=table).get("Table", {})
            if found.get("DeletionProtectionEnabled"):
                protected.append(f"table {table}")
        for pool in stack.parts(cloudformation, full, "AWS::Cognito::UserPool"):
            found = _found(cognito.describe_user_pool, UserPoolId=pool).get("UserPool", {})
            if found.get("DeletionProtection") == "ACTIVE":
                protected.append(f"user pool {pool}")
    if protected:
        message = f"{', '.join(protected)}: protected from deletion, so nothing was changed; docs/deploy.md says under 'Taking production down' how to switch that off"  # noqa: E501
        raise DeployFault(message)


def forget_logs(logs: Any, name: str) -> None:
    """Delete what the functions said: Chalice leaves it, and takes the retention away from it.

    Raises:
        DeployFault: it can't be deleted.
    """
    misnamed = f"/aws/lambda/seckill-{name}-api_handler"  # Chalice's, and always empty
    with told_in_one_line():
        for group in (*(log_group(name, function) for function in GRANTS), misnamed):
            _found(logs.delete_log_group, logGroupName=group)


def _found(ask: Callable[..., Any], **of: str) -> Any:
    """The answer; empty for what is gone already."""
    try:
        return ask(**of)
    except ClientError as error:
        if error.response["Error"].get("Code") != "ResourceNotFoundException":
            raise
        return {}


def main() -> int:
    """Destroy the stage given; 1 if it can't be done."""
    parser = argparse.ArgumentParser(prog="python -m infra.destroy", description=__doc__)
    parser.add_argument("stage")
    try:
        destroy(parser.parse_args().stage, os.environ.get("CONFIRM", ""))
    except DeployFault as fault:
        print(f"seckill: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
