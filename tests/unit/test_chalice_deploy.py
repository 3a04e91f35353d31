"""`chalice deploy`'s own calls, against moto: what it makes, again, and after an interruption.

What ships is not packaged here (requirements.txt is empty); that is `make e2e`'s part.
"""

import json
import re
import traceback
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from chalice.cli.factory import CLIFactory
from chalice.deploy.deployer import ChaliceDeploymentError
from chalice.utils import UI
from moto import mock_aws

from infra import adopt, deploy, keyed_chalice, policies, stage
from infra import keys as admission
from infra.faults import DeployFault
from infra.package import copy_project
from localstack.cloud import ROOT

_INTEGRATION = "x-amazon-apigateway-integration"
FUNCTIONS = set(policies.GRANTS)
SECRET = b64encode(b"thirty-two bytes are the least..").decode()
NEXT = b64encode(b"another thirty-two bytes, or more").decode()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What ships, with a stage for tests whose policies and limits are dev's."""
    copy_project(tmp_path / "project")
    (tmp_path / "project" / "requirements.txt").write_text("")
    path = tmp_path / "project" / ".chalice" / "config.json"
    config = stage.read(path)
    config["stages"]["local"] = config["stages"]["dev"]
    config["stages"]["local"]["environment_variables"]["STAGE"] = "local"
    stage.write(config, path)
    return tmp_path / "project"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("STAGE")  # what the CLI sets from the stage, it sets in its own environment
    with mock_aws():
        for queue in policies.QUEUES:
            boto3.client("sqs").create_queue(QueueName=f"seckill-local-{queue}")
        yield


def chalice(
    project: Path, command: str = "deploy", keys: str = "", watch: Any = None
) -> dict[str, Any]:
    """Run a command of Chalice's in this process; returns its note by name.

    watch: sees the parameters of each change of a function's configuration.
    """
    factory = CLIFactory(str(project), environ={})
    if keys:
        factory = keyed_chalice.factory(keys, str(project), environ={})
    config = factory.create_config_obj("local")
    session: Any = factory.create_botocore_session()
    if watch:
        session.register("provide-client-params.lambda.UpdateFunctionConfiguration", watch)
    for operation in ("ImportRestApi", "PutRestApi"):
        session.register(f"provide-client-params.api-gateway.{operation}", _as_moto_reads_it)
    make = "create_default_deployer" if command == "deploy" else "create_deletion_deployer"
    arguments = (session, config, UI()) if command == "deploy" else (session, UI())
    getattr(factory, make)(*arguments).deploy(config, "local")
    return note(project)


def _as_moto_reads_it(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Chalice sends Swagger 2, which AWS takes and moto does not: the same paths as OpenAPI 3."""
    sent = json.loads(params["body"])
    paths = {
        path: {
            method: {
                "responses": {"200": {"description": "-"}},
                "parameters": [
                    {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                    for name in re.findall(r"{(\w+)}", path)
                ],
                _INTEGRATION: told[_INTEGRATION],
            }
            for method, told in methods.items()
        }
        for path, methods in sent["paths"].items()
    }
    info = {**sent["info"], "description": "for moto"}
    return {**params, "body": json.dumps({"openapi": "3.0.1", "info": info, "paths": paths})}


def note(project: Path) -> dict[str, Any]:
    resources = json.loads(adopt.record_path(project, "local").read_text())["resources"]
    return {resource["name"]: resource for resource in resources}


def client(service: str) -> Any:
    make: Any = boto3.client
    return make(service)


def mappings() -> dict[str, dict[str, Any]]:
    """Event source mappings by queue."""
    found = client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert len(found) == len(policies.QUEUES)
    return {one["EventSourceArn"].rsplit("-local-", 1)[1]: one for one in found}


@pytest.mark.usefixtures("account")
def test_it_makes_all_there_is_and_again_makes_nothing_twice(project: Path) -> None:
    first = chalice(project)
    functions = {one["FunctionName"]: one for one in client("lambda").list_functions()["Functions"]}
    assert set(functions) == {policies.function_name("local", name) for name in FUNCTIONS}
    for name in FUNCTIONS:
        role = functions[policies.function_name("local", name)]["Role"].rsplit("/", 1)[1]
        assert role == f"seckill-local-{name}"
        [policy] = client("iam").list_role_policies(RoleName=role)["PolicyNames"]
        given = client("iam").get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        assert given == policies.policy("dev", name)
    assert functions["seckill-local-rebuild"]["Timeout"] == 900
    before = mappings()
    assert before["active-promotions"]["MaximumBatchingWindowInSeconds"] == 1
    assert before["timers"]["BatchSize"] == 1
    assert before["timers"]["ScalingConfig"] == {"MaximumConcurrency": 20}
    again = chalice(project)
    # A mapping is kept, not made anew: its queue goes on being read, with all of its settings.
    after = mappings()
    assert {q: m["UUID"] for q, m in after.items()} == {q: m["UUID"] for q, m in before.items()}
    assert after["active-promotions"]["MaximumBatchingWindowInSeconds"] == 1
    assert after["timers"]["ScalingConfig"] == {"MaximumConcurrency": 20}
    assert again["rest_api"] == first["rest_api"]
    assert len(client("apigateway").get_rest_apis()["items"]) == 1


@pytest.mark.usefixtures("account")
def test_what_an_interrupted_deployment_left_is_gone_on_with(project: Path) -> None:
    """Chalice notes what it made only at the end; the account has it all the same."""
    noted = chalice(project)
    adopt.record_path(project, "local").unlink()
    adopted = adopt.adopt(client, project, "local")
    assert set(adopted) == set(noted)
    assert note(project) == {name: {**noted[name]} for name in noted}
    assert adopt.adopt(client, project, "local") == []
    uuids = {queue: mapping["UUID"] for queue, mapping in mappings().items()}
    again = chalice(project)
    assert {queue: mapping["UUID"] for queue, mapping in mappings().items()} == uuids
    assert again["rest_api"] == noted["rest_api"]
    assert adopt.api_url(project, "local") == noted["rest_api"]["rest_api_url"].rstrip("/")


@pytest.mark.usefixtures("account")
def test_deleting_leaves_nothing_also_without_the_note(project: Path) -> None:
    chalice(project)
    adopt.record_path(project, "local").unlink()
    adopt.adopt(client, project, "local")
    chalice(project, "delete")
    assert client("lambda").list_functions()["Functions"] == []
    assert client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert client("apigateway").get_rest_apis()["items"] == []
    assert client("iam").list_roles()["Roles"] == []
    assert client("events").list_rules()["Rules"] == []


@pytest.mark.usefixtures("account")
def test_an_empty_account_has_nothing_to_go_on_with(project: Path) -> None:
    assert adopt.adopt(client, project, "local") == []
    assert not adopt.record_path(project, "local").exists()


def write(keys: str) -> Any:
    ssm = client("ssm")
    name = "/seckill/local/admission-keys"
    ssm.put_parameter(Name=name, Value=keys, Type="SecureString", Overwrite=True)
    return ssm


@pytest.mark.usefixtures("account")
def test_the_routes_function_has_its_keys_in_every_moment_of_a_deployment(project: Path) -> None:
    given: list[Any] = []

    def watch(params: dict[str, Any], **_: Any) -> None:
        keys = params["Environment"]["Variables"].get("ADMISSION_KEYS")
        given.append((params["FunctionName"], keys))

    def deployed(keys: str) -> None:
        noted = chalice(project, keys=keys, watch=watch)
        assert SECRET not in json.dumps(noted)

    first, second = f"one:{SECRET}", f"two:{NEXT},one:{SECRET}"
    deployed(first)
    assert given == []  # functions are made with what they have, and changed later
    for keys in (first, second):
        deployed(keys)
        assert ("seckill-local", keys) in given
        assert {had for name, had in given if name != "seckill-local"} == {None}
        assert len(given) == len(FUNCTIONS)
        found = client("lambda").get_function_configuration(FunctionName="seckill-local")
        assert found["Environment"]["Variables"]["STAGE"] == "local"
        given.clear()
    # To rotate, nothing has to be deployed.
    assert admission.put_in_place(write(first), client("lambda"), "local")
    found = client("lambda").get_function_configuration(FunctionName="seckill-local")
    assert found["Environment"]["Variables"]["ADMISSION_KEYS"] == first
    written = [path for path in project.rglob("*") if path.is_file()]
    assert adopt.record_path(project, "local") in written
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


@pytest.mark.usefixtures("account")
def test_what_lambda_refuses_is_told_without_keys_however_chalice_breaks_its_lines(
    project: Path,
) -> None:
    """Lambda shows all settings to who has more than 4 KB of them; Chalice wraps them."""

    def refuse(params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]] | None:
        told = params["body"].decode()
        if "ADMISSION_KEYS" not in told:
            return None
        error = {"Code": "TooLarge", "Message": f"too much: {told}"}
        return SimpleNamespace(status_code=400), {"Error": error, "ResponseMetadata": {}}

    factory = keyed_chalice.factory(f"one:{SECRET},two:{NEXT}", str(project), environ={})
    session = factory.create_botocore_session()
    session.register("before-call.lambda.CreateFunction", refuse)
    config = factory.create_config_obj("local")
    with pytest.raises(ChaliceDeploymentError) as told:
        factory.create_default_deployer(session, config, UI()).deploy(config, "local")
    said = "".join("".join(traceback.format_exception(told.value)).split())
    assert "toomuch" in said
    assert '"ADMISSION_KEYS":"one:***,two:***"' in said
    assert SECRET not in said
    assert NEXT not in said


# What an app could do at worst while Chalice imports it.
TELLS = """
import os, subprocess, sys
import chalice.cli
print("chalice has", chalice.cli.CLIFactory.args)
print("environment", sorted(os.environ), flush=True)
subprocess.run([sys.executable, "-c", "import os; print('child', dict(os.environ))"])
raise RuntimeError(chalice.cli.CLIFactory.args)
"""


def test_the_program_that_deploys_tells_no_key_whatever_fails(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "app.py").write_text(TELLS)
    monkeypatch.setattr(deploy, "ROOT", project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the copy has no infra
    with pytest.raises(DeployFault, match="chalice deploy failed") as told:
        deploy.run_chalice("deploy", "local", keyed=f"one:{SECRET},two:{NEXT}")
    said = "".join(capfd.readouterr()) + str(told.value)
    assert "chalice has ('one:***,two:***',)" in said
    assert "RuntimeError: ('one:***,two:***',)" in said
    assert "ADMISSION_KEYS" not in said
    assert SECRET not in said
    assert NEXT not in said
