"""The keys of admission tokens: from an encrypted parameter into the function that answers.

Chalice's configuration is in the repository, where no secret can be. So the keys are a parameter
that somebody who may writes. `make deploy` hands them to Chalice, in memory, for the function's
environment; `python -m infra.keys dev` (`make keys`) puts them there alone, to rotate. A plain
`chalice deploy` takes them away: until the next `make deploy` or `make keys` the stage gives no
tokens, and promotions that need one sell nothing. Nothing is lost by it.
"""

import argparse
import sys
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.config import InvalidSetting, read_admission_keys
from infra import stage
from infra.account import account
from infra.faults import DeployFault, told_in_one_line
from infra.hidden import NAME, hide
from infra.policies import function_name


def parameter(stage: str) -> str:
    """The parameter's name in Systems Manager; its type has to be SecureString."""
    return f"/seckill/{stage}/admission-keys"


def read(ssm: Any, stage: str) -> str | None:
    """The stage's keys; None if nobody has written any.

    Raises:
        DeployFault: they are no keys, or AWS refuses. The message never has a key in it.
    """
    name = parameter(stage)
    with told_in_one_line():
        try:
            found = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            return None
    if found["Type"] != "SecureString":
        message = f"{name} is not encrypted: write it again, as a SecureString"
        raise DeployFault(message)
    try:
        read_admission_keys(found["Value"])
    except InvalidSetting as error:
        message = f"{name} holds no keys: {error}"
        raise DeployFault(message) from None
    return str(found["Value"])


def put_in_place(ssm: Any, functions: Any, stage: str) -> bool:
    """Give the stage's API handler its keys; returns False if nobody has written any.

    Raises:
        DeployFault: they are no keys, or AWS refuses. The message never has a key in it.
    """
    keys = read(ssm, stage)
    if keys is None:
        return False
    function = function_name(stage, "api_handler")
    hide(functions.meta.events, keys)
    with told_in_one_line():
        there = functions.get_function_configuration(FunctionName=function)
        functions.update_function_configuration(
            FunctionName=function,
            Environment={"Variables": {**there["Environment"]["Variables"], NAME: keys}},
        )
        functions.get_waiter("function_updated_v2").wait(FunctionName=function)
    return True


def main() -> int:
    """Put the keys of the stage given in place; 1 if it can't be done."""
    parser = argparse.ArgumentParser(prog="python -m infra.keys", description=__doc__)
    parser.add_argument("stage")
    name = parser.parse_args().stage
    try:
        session = account(stage.read(), name)
        with told_in_one_line():
            ssm, functions = session.client("ssm"), session.client("lambda")
        there = put_in_place(ssm, functions, name)
    except DeployFault as fault:
        print(f"seckill: {fault}", file=sys.stderr)
        return 1
    print("admission keys are in place" if there else f"{parameter(name)} is empty: write it first")
    return 0 if there else 1


if __name__ == "__main__":
    sys.exit(main())
