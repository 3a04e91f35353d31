"""Packaging a stage that others can reach: with its user pool, or not at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from chalice.cli.factory import CLIFactory

from chalicelib.config import InvalidSetting, Settings, read_settings
from infra import deploy, stage
from infra.faults import DeployFault
from infra.package import copy_project, package
from tests.unit.test_stage import OUTPUTS


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ships, without what it depends on: that is `make check`'s part.

    `chalice package` takes seconds, so it runs once for what it refuses and once for what it makes.
    """
    monkeypatch.delenv("STAGE")  # Chalice sets it from the stage
    copy_project(tmp_path / "project")
    (tmp_path / "project" / "requirements.txt").write_text("")
    return tmp_path / "project"


def configure(project: Path, config: dict[str, Any], **environ: str) -> None:
    config["stages"]["dev"]["environment_variables"] |= environ
    stage.write(config, project / ".chalice" / "config.json")


def settings_of(project: Path, name: str) -> Settings:
    """What the app reads of a stage when Chalice imports it."""
    stage_config = CLIFactory(str(project), environ={}).create_config_obj(name)
    return read_settings(stage_config.environment_variables)


def without_pool(project: Path, name: str) -> None:
    fresh = stage.without_outputs(stage.read(), name)
    stage.write(fresh, project / ".chalice" / "config.json")


def test_what_the_app_refuses_is_one_line_and_nothing_is_built(
    project: Path, tmp_path: Path
) -> None:
    without_pool(project, "dev")
    with pytest.raises(DeployFault, match="USER_POOL_ARN is missing: stage 'dev'") as told:
        package(project, "dev", tmp_path / "out")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_without_a_user_pool_the_app_is_refused(project: Path, name: str) -> None:
    without_pool(project, name)
    with pytest.raises(InvalidSetting, match=rf"USER_POOL_ARN is missing: stage '{name}'"):
        settings_of(project, name)


def test_a_stage_that_others_can_reach_is_never_built_open(project: Path) -> None:
    config = stage.with_outputs(stage.read(), "dev", OUTPUTS, cloud=True)
    configure(project, config, AUTH="open")
    with pytest.raises(InvalidSetting, match=r"AUTH=open is for the local stage only, .* 'dev'"):
        settings_of(project, "dev")


def test_a_stage_that_is_not_declared_is_not_built(project: Path) -> None:
    with pytest.raises(InvalidSetting, match="STAGE is missing"):
        settings_of(project, "qa")


def test_with_its_user_pool_all_but_what_is_for_everyone_asks_for_a_token(
    project: Path, tmp_path: Path
) -> None:
    configure(project, stage.with_outputs(stage.read(), "dev", OUTPUTS, cloud=True))
    package(project, "dev", tmp_path / "out")
    template = json.loads((tmp_path / "out" / "sam.json").read_text())
    api = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    [authorizer] = api["securityDefinitions"].values()
    assert authorizer["x-amazon-apigateway-authorizer"]["providerARNs"] == [OUTPUTS["UserPoolArn"]]
    open_to_all = {
        f"{method} {path}"
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
        if not operation.get("security")
    }
    assert not [name for name in open_to_all if "/admin/" in name or "/command/" in name]
    assert "get /health" in open_to_all


def test_what_was_left_half_made_can_be_deleted_without_a_user_pool(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chalice imports the app also to delete it, and the first stack may never have come up."""
    stage.write(stage.without_outputs(stage.read(), "dev"), project / ".chalice" / "config.json")
    monkeypatch.setattr(deploy, "ROOT", project)
    with pytest.raises(DeployFault, match="chalice delete failed"):
        deploy.run_chalice("delete", "dev")
    deploy.run_chalice("delete", "dev", deploy.NO_POOL)
