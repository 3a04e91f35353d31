"""The keys of admission tokens: from an encrypted parameter into the function, and nowhere else."""

import io
import json
import traceback
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from infra import keys
from infra.faults import DeployFault

SECRET = b64encode(b"thirty-two bytes are the least..").decode()
GOOD = f"monday:{SECRET}"


@pytest.fixture
def functions() -> Iterator[Any]:
    """Lambda, with the API handler of stage dev as Chalice has made it."""
    with mock_aws():
        role = boto3.client("iam").create_role(
            RoleName="any", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17"})
        )["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as package:
            package.writestr("app.py", "")
        client = boto3.client("lambda")
        client.create_function(
            FunctionName="seckill-dev",
            Runtime="python3.12",
            Role=role,
            Handler="app.app",
            Code={"ZipFile": code.getvalue()},
            Environment={"Variables": {"STAGE": "dev"}},
        )
        yield client


def write(value: str, type_: Any = "SecureString") -> Any:
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name="/seckill/dev/admission-keys", Value=value, Type=type_, Overwrite=True)
    return ssm


def environment(functions: Any) -> Any:
    return functions.get_function_configuration(FunctionName="seckill-dev")["Environment"][
        "Variables"
    ]


def test_they_are_added_to_what_the_function_has_and_rotated_by_the_next_deployment(
    functions: Any,
) -> None:
    assert keys.put_in_place(write(GOOD), functions, "dev")
    assert environment(functions) == {"STAGE": "dev", "ADMISSION_KEYS": GOOD}
    rotated = f"tuesday:{SECRET},{GOOD}"
    assert keys.put_in_place(write(rotated), functions, "dev")
    assert environment(functions)["ADMISSION_KEYS"] == rotated


def test_a_stage_without_any_is_left_as_it_is(functions: Any) -> None:
    assert not keys.put_in_place(boto3.client("ssm"), functions, "dev")
    assert environment(functions) == {"STAGE": "dev"}


@pytest.mark.parametrize(
    ("value", "type_", "says"),
    [
        (GOOD, "String", "not encrypted"),
        (f"monday:{SECRET[:20]}", "SecureString", "entry 1"),
        (f"{GOOD},monday:{SECRET}", "SecureString", "entry 2"),
        ("nonsense", "SecureString", "entry 1"),
    ],
)
def test_what_would_break_every_request_is_refused_in_one_line_without_the_key(
    functions: Any, value: str, type_: str, says: str
) -> None:
    with pytest.raises(DeployFault, match=says) as refused:
        keys.put_in_place(write(value, type_), functions, "dev")
    assert SECRET[:20] not in str(refused.value)
    assert environment(functions) == {"STAGE": "dev"}


def test_what_lambda_refuses_is_told_without_the_key() -> None:
    """It shows all settings to who has more than 4 KB of them."""
    variables = {"STAGE": "d" * 230, "ADMISSION_KEYS": GOOD}  # our line ends within the key
    with mock_aws():
        ssm = write(GOOD)
        functions = boto3.client("lambda")
        with Stubber(functions) as answers:
            answers.add_response(
                "get_function_configuration", {"Environment": {"Variables": variables}}
            )
            answers.add_client_error(
                "update_function_configuration", "InvalidParameterValueException", str(variables)
            )
            with pytest.raises(DeployFault, match="ADMISSION_KEYS': 'monday:") as refused:
                keys.put_in_place(ssm, functions, "dev")
    assert SECRET[:9] not in "".join(traceback.format_exception(refused.value))
