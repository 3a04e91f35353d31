"""A stage's part of `.chalice/config.json`: the template's outputs go in, nothing else moves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.faults import DeployFault
from infra.policies import IN_VPC

CONFIG = Path(__file__).parent.parent / ".chalice" / "config.json"

NEEDED = {
    "TopicArn": "TOPIC_ARN",
    "EventsQueueUrl": "EVENTS_QUEUE_URL",
    "TimersQueueUrl": "TIMERS_QUEUE_URL",
}
IN_THE_CLOUD = {
    "RedisUrl": "REDIS_URL",
    "RedisCluster": "REDIS_CLUSTER",
    "UserPoolArn": "USER_POOL_ARN",
}
_NETWORK = ("SubnetIds", "SecurityGroupId")
# For what the deployment itself does: users to try it with, and what goes before the API.
_FOR_US = ("UserPoolId", "UserPoolClientId", "WebAclArn")


def with_outputs(
    config: Mapping[str, Any], stage: str, outputs: Mapping[str, str], *, cloud: bool
) -> dict[str, Any]:
    """The configuration with a stack's outputs in `stage`; in the cloud all of them are needed.

    Raises:
        DeployFault: there is no such stage, an output is missing, or one carries a password.
    """
    changed = json.loads(json.dumps(config))
    wanted = {**NEEDED, **IN_THE_CLOUD} if cloud else NEEDED
    missing = [
        name
        for name in (*wanted, *((*_NETWORK, *_FOR_US) if cloud else ()))
        if not outputs.get(name)
    ]
    if missing:
        message = f"the stack of {stage} has no output {', '.join(missing)}: is infra/template.yaml the one that was applied?"  # noqa: E501
        raise DeployFault(message)
    found = _stage(changed, stage)
    environment = found.setdefault("environment_variables", {})
    for output, variable in {**NEEDED, **IN_THE_CLOUD}.items():
        if output in outputs:
            if urlsplit(outputs[output]).password:
                message = f"the output {output} carries a password, which must not get into a file"
                raise DeployFault(message)
            environment[variable] = outputs[output]
    if cloud:
        for name in IN_VPC:
            function = found.setdefault("lambda_functions", {}).setdefault(name, {})
            function["subnet_ids"] = outputs["SubnetIds"].split(",")
            function["security_group_ids"] = [outputs["SecurityGroupId"]]
    return dict(changed)


def without_outputs(config: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """The configuration as it was before the stage's first deployment."""
    changed = json.loads(json.dumps(config))
    found = _stage(changed, stage)
    for variable in (*NEEDED.values(), *IN_THE_CLOUD.values()):
        found.get("environment_variables", {}).pop(variable, None)
    for function in found.get("lambda_functions", {}).values():
        function.pop("subnet_ids", None)
        function.pop("security_group_ids", None)
    return dict(changed)


def gateway_stage(config: Mapping[str, Any], stage: str) -> str:
    """What Chalice calls the stage's one stage at API Gateway."""
    everywhere = config.get("api_gateway_stage", "api")
    return str(_stage(config, stage).get("api_gateway_stage", everywhere))


def variable(config: Mapping[str, Any], stage: str, name: str) -> str:
    """A setting of all the stage's functions; empty if it has none."""
    everywhere = config.get("environment_variables", {})
    return str({**everywhere, **_stage(config, stage)["environment_variables"]}.get(name, ""))


def log_days(config: Mapping[str, Any], stage: str) -> int:
    """For how many days logs are kept.

    Raises:
        DeployFault: nobody has said it.
    """
    days = _stage(config, stage).get("log_retention_in_days", config.get("log_retention_in_days"))
    if not days:
        message = f"stage {stage} has no log_retention_in_days in .chalice/config.json: logs would be kept for ever"  # noqa: E501
        raise DeployFault(message)
    return int(days)


def home(config: Mapping[str, Any], stage: str) -> tuple[str, str] | None:
    """(region, account) where the stage was deployed last; None if it never was."""
    arn = _stage(config, stage).get("environment_variables", {}).get("TOPIC_ARN")
    if not arn:
        return None
    _, _, _, region, account, _ = arn.split(":", 5)
    return region, account


def read(path: Path | None = None) -> dict[str, Any]:
    """The configuration."""
    config: dict[str, Any] = json.loads((path or CONFIG).read_text())
    return config


def write(config: Mapping[str, Any], path: Path | None = None) -> None:
    """Replace the configuration in one step: an interruption leaves the old or the new one."""
    path = path or CONFIG
    new = path.with_suffix(".new")
    new.write_text(json.dumps(config, indent=2) + "\n")
    new.replace(path)


def _stage(config: Mapping[str, Any], stage: str) -> dict[str, Any]:
    stages: dict[str, dict[str, Any]] = config.get("stages", {})
    if stage not in stages:
        message = f"there is no stage {stage!r} in .chalice/config.json: {', '.join(stages)}"
        raise DeployFault(message)
    return stages[stage]
