"""The keys of admission tokens: from an encrypted parameter into the function that answers.

Chalice's configuration is in the repository, where no secret can be. So the keys are a parameter
that somebody who may writes once, and `make deploy` puts them into the function's environment after
Chalice has set the rest of it. A plain `chalice deploy` takes them away again: until the next `make
deploy` the stage gives no tokens, and promotions that need one sell nothing. Nothing is lost by it.
"""

from typing import Any

from botocore.exceptions import ClientError

from chalicelib.config import InvalidSetting, read_admission_keys
from infra.faults import DeployFault, told_in_one_line
from infra.policies import function_name

_NAME = "ADMISSION_KEYS"


def parameter(stage: str) -> str:
    """The parameter's name in Systems Manager; its type has to be SecureString."""
    return f"/seckill/{stage}/admission-keys"


def put_in_place(ssm: Any, functions: Any, stage: str) -> bool:
    """Give the stage's API handler its keys; returns False if nobody has written any.

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
            return False
    if found["Type"] != "SecureString":
        message = f"{name} is not encrypted: write it again, as a SecureString"
        raise DeployFault(message)
    try:
        read_admission_keys(found["Value"])
    except InvalidSetting as error:
        message = f"{name} holds no keys: {error}"
        raise DeployFault(message) from None
    function = function_name(stage, "api_handler")
    with told_in_one_line():
        there = functions.get_function_configuration(FunctionName=function)
        variables = {**there["Environment"]["Variables"], _NAME: found["Value"]}
        functions.update_function_configuration(
            FunctionName=function, Environment={"Variables": variables}
        )
        functions.get_waiter("function_updated_v2").wait(FunctionName=function)
    return True
