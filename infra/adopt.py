"""Chalice's record of a stage, made anew from what is in the account.

Chalice notes what it has deployed in `.chalice/deployed/<stage>.json`, and only when all went
well. Without the note, after an interruption or on another machine, it would make a second API
with another address, and fail on event sources that are there already. So before each deployment
what is missing in the note is looked up.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infra.faults import DeployFault
from infra.policies import GRANTS, function_name

Client = Callable[[str], Any]
_ABSENT = ("ResourceNotFoundException", "NoSuchEntity", "NotFoundException")


def record_path(project: Path, stage: str) -> Path:
    """Where Chalice keeps its note of a stage."""
    return project / ".chalice" / "deployed" / f"{stage}.json"


def api_url(project: Path, stage: str) -> str:
    """Where a stage's API is, by Chalice's note.

    Raises:
        DeployFault: it was not deployed from here.
    """
    api = rest_api(project, stage)
    if api is None:
        message = f"{stage} has no API yet: deploy it first"
        raise DeployFault(message)
    return api["rest_api_url"].rstrip("/")


def rest_api(project: Path, stage: str) -> dict[str, str] | None:
    """What Chalice has noted of a stage's API: rest_api_id and rest_api_url; None without one."""
    for resource in noted(project, stage):
        if resource["resource_type"] == "rest_api":
            return resource
    return None


def noted(project: Path, stage: str) -> list[dict[str, str]]:
    """All that Chalice has noted of a stage."""
    path = record_path(project, stage)
    resources: list[dict[str, str]] = (
        json.loads(path.read_text())["resources"] if path.exists() else []
    )
    return resources


def adopt(client: Client, project: Path, stage: str) -> list[str]:
    """Add to the stage's note what is in the account and not in it; returns its names.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: it can't be asked.
    """
    path = record_path(project, stage)
    record = json.loads(path.read_text()) if path.exists() else _EMPTY
    known = {resource["name"] for resource in record["resources"]}
    found = [resource for resource in _there(client, stage) if resource["name"] not in known]
    if found:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**record, "resources": [*record["resources"], *found]}))
    return [str(resource["name"]) for resource in found]


_EMPTY: Mapping[str, Any] = {"resources": [], "schema_version": "2.0", "backend": "api"}


def _there(client: Client, stage: str) -> Iterator[dict[str, str]]:
    """Roles, functions, event sources, the schedule, log groups and the API, as Chalice notes."""
    for name, grant in GRANTS.items():
        full, role_name = function_name(stage, name), f"seckill-{stage}-{name}"
        group = f"/aws/lambda/{role_name}"  # for the routes' function, one that nobody writes to
        groups = client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        if group in [found["logGroupName"] for found in groups]:
            yield _note("log_group", f"{name}-log-group", log_group_name=group)
        role = _found(partial(client("iam").get_role, RoleName=role_name))
        if role is not None:
            arn = role["Role"]["Arn"]
            yield _note("iam_role", f"{name}_role", role_arn=arn, role_name=role_name)
        function = _found(partial(client("lambda").get_function, FunctionName=full))
        if function is None:
            continue
        arn = function["Configuration"]["FunctionArn"]
        yield _note("lambda_function", name, lambda_arn=arn)
        if grant.fed_by:
            yield from _event_source(client("lambda"), name, arn)
    rule = f"seckill-{stage}-sweep-event"
    if _found(partial(client("events").describe_rule, Name=rule)) is not None:
        yield _note("cloudwatch_event", "sweep-event", rule_name=rule)
    yield from _api(client("apigateway"), function_name(stage, "api_handler"))


def _note(kind: str, name: str, **values: str) -> dict[str, str]:
    return {"name": name, "resource_type": kind, **values}


def _found(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except ClientError as error:
        if error.response["Error"].get("Code") not in _ABSENT:
            raise
        return None


def _event_source(aws_lambda: Any, name: str, arn: str) -> Iterator[dict[str, str]]:
    answer = aws_lambda.list_event_source_mappings(FunctionName=arn)
    for mapping in answer["EventSourceMappings"]:
        queue_arn = mapping["EventSourceArn"]
        yield _note(
            "sqs_event",
            f"{name}-sqs-event-source",
            queue_arn=queue_arn,
            event_uuid=mapping["UUID"],
            queue=queue_arn.rsplit(":", 1)[1],
            lambda_arn=arn,
        )


def _api(gateway: Any, handler: str) -> Iterator[dict[str, str]]:
    """The API whose routes go to this stage's function: all stages' APIs have the same name."""
    for page in gateway.get_paginator("get_rest_apis").paginate():
        for api in page["items"]:
            if api["name"] == "seckill" and _goes_to(gateway, api["id"], handler):
                url = (
                    f"https://{api['id']}.execute-api.{gateway.meta.region_name}.amazonaws.com/api/"
                )
                yield _note("rest_api", "rest_api", rest_api_id=api["id"], rest_api_url=url)
                return


def _goes_to(gateway: Any, api_id: str, handler: str) -> bool:
    pages = gateway.get_paginator("get_resources").paginate(restApiId=api_id, embed=["methods"])
    return any(
        f":function:{handler}/" in method.get("methodIntegration", {}).get("uri", "")
        for page in pages
        for resource in page["items"]
        for method in resource.get("resourceMethods", {}).values()
    )
