"""Deploy a stage, from nothing or again: `python -m infra.deploy dev`.

The templates, their outputs into the stage, `chalice deploy`, limits and the web ACL before the
API, a smoke test. Each step may be interrupted at any point; running it again goes on.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3

from infra import adopt, edge, keys, quota, smoke, stack, stage
from infra.account import LOCAL, account, client_of
from infra.choices import choices_of
from infra.faults import DeployFault, told_in_one_line
from infra.hidden import NAME, without
from infra.package import CHALICE, ROOT
from infra.policies import log_group

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


# For a Chalice that only deletes: it imports the app all the same, and the pool may be gone.
NO_POOL = {"USER_POOL_ARN": "none"}


def say(line: str) -> None:
    """A line of progress."""
    print(line, flush=True)


def deploy(name: str, *, allow_loss: bool = False) -> str:
    """Deploy stage `name`; returns the API's URL, without a slash at its end.

    Raises:
        DeployFault: a step failed; the message says which, and running it again is safe.
    """
    config = stage.read()
    keep_days = stage.log_days(config, name)
    session = account(config, name)
    cloud = name != LOCAL
    if cloud:
        quota.require(session.client("lambda"), config, name, say)
    outputs = apply_templates(session.client("cloudformation"), name, allow_loss=allow_loss)
    if not cloud and os.environ.get("REDIS_URL"):
        outputs["RedisUrl"] = os.environ["REDIS_URL"]
    stage.write(stage.with_outputs(config, name, outputs, cloud=cloud))
    say(f"outputs are in .chalice/config.json: {', '.join(sorted(outputs))}")
    with told_in_one_line():
        adopted = adopt.adopt(client_of(session), ROOT, name)
    if adopted:
        say(f"found in the account, and gone on with: {', '.join(adopted)}")
    keep_logs(session.client("logs"), name, keep_days)
    admission = keys.read(session.client("ssm"), name) if cloud else None
    run_chalice("deploy", name, keyed=admission)
    if cloud:
        origin = stage.variable(config, name, "CORS_ORIGIN")
        protect(session, api_of(config, name), name, outputs, origin)
        empty = f"no tokens: {keys.parameter(name)} is empty"
        say("admission keys are in place" if admission else empty)
    return adopt.api_url(ROOT, name)


def apply_templates(
    cloudformation: "CloudFormationClient", name: str, *, allow_loss: bool
) -> dict[str, str]:
    """Bring the stage's stacks up to date: what it stands on, and in the cloud what watches it.

    Returns the outputs of the first.

    Raises:
        DeployFault: nobody has chosen for this stage, a choice is no parameter of either template,
            or a stack can't be as wanted.
    """
    if name == LOCAL:
        text = stack.TEMPLATE.read_text()
        local = stack.Stack(f"seckill-{name}", text, {"Stage": name}, allow_loss)
        return stack.apply(cloudformation, local, say)
    chosen = {"Stage": name, "Cloud": "true", **choices_of(name).parameters}
    texts = [path.read_text() for path in (stack.TEMPLATE, stack.WATCH)]
    known = [stack.parameters_of(text) for text in texts]
    if unknown := set(chosen) - known[0] - known[1]:
        message = f"infra/choices.py chooses {', '.join(sorted(unknown))} for {name}, which no template knows"  # noqa: E501
        raise DeployFault(message)
    found = [
        stack.apply(
            cloudformation,
            stack.Stack(full, text, {n: v for n, v in chosen.items() if n in names}, allow_loss),
            say,
        )
        for full, text, names in zip(stack_names(name), texts, known, strict=True)
    ]
    return found[0]


def stack_names(name: str) -> tuple[str, str]:
    """The stage's stacks: what it stands on, and what watches it."""
    return f"seckill-{name}", f"seckill-{name}-watch"


def api_of(config: Mapping[str, Any], name: str) -> edge.Api | None:
    """The stage's API, by Chalice's note; None if there is none."""
    noted = adopt.rest_api(ROOT, name)
    if noted is None:
        return None
    return edge.Api(noted["rest_api_id"], stage.gateway_stage(config, name))


def protect(
    session: boto3.Session,
    api: edge.Api | None,
    name: str,
    outputs: Mapping[str, str],
    cors_origin: str = "",
) -> None:
    """Set the API's limits, put the web ACL before it, and give its own refusals our form.

    Raises:
        DeployFault: there is no API, or AWS refuses.
    """
    if api is None:
        message = f"{name} has no API: chalice deploy made none"
        raise DeployFault(message)
    chosen, gateway = choices_of(name), session.client("apigateway")
    edge.limit(gateway, api, chosen)
    say(f"limits: {chosen.crowd.per_second} requests a second, {chosen.paying.per_second} to pay")
    edge.guard(session.client("wafv2"), stage_arn(session, api), outputs["WebAclArn"])
    say("the web ACL is before the API")
    edge.answer(gateway, api, cors_origin)
    say("what API Gateway refuses by itself has the form of our refusals")


def stage_arn(session: boto3.Session, api: edge.Api) -> str:
    """The ARN of the API's stage in the session's region."""
    region = session.client("apigateway").meta.region_name
    return api.arn(region, session.get_partition_for_region(region))


def keep_logs(logs: Any, name: str, days: int) -> None:
    """Make the log group of the routes' function: Chalice gets its name wrong.

    Raises:
        DeployFault: it can't be made.
    """
    group = log_group(name, "api_handler")
    with told_in_one_line():
        there = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        if group not in [found["logGroupName"] for found in there]:
            logs.create_log_group(logGroupName=group)
        logs.put_retention_policy(logGroupName=group, retentionInDays=days)


def run_chalice(
    command: str, name: str, environ: Mapping[str, str] | None = None, keyed: str | None = None
) -> None:
    """Run a command of Chalice's; its output is shown as it comes.

    environ: settings for where the stage has none. keyed: admission keys for the function that
    answers; they are in no file, no argument and no output.

    Raises:
        DeployFault: it failed.
    """
    program, settings, told = [str(CHALICE)], {**os.environ, **(environ or {})}, None
    if keyed is not None:
        program, told = [sys.executable, "-m", "infra.keyed_chalice"], subprocess.PIPE
        settings |= {NAME: keyed, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(  # noqa: S603 - our own command
        [*program, command, "--stage", name],
        cwd=ROOT,
        env=settings,
        stdout=told,
        stderr=subprocess.STDOUT if told else None,
        text=True,
    ) as running:
        for line in running.stdout or ():
            say(without(keyed or "", line.rstrip("\n")))
    if running.returncode:
        message = f"chalice {command} failed, see above; what runs goes on, and running this again is safe"  # noqa: E501
        raise DeployFault(message)


def main() -> int:
    """Deploy, say where it is, and try it; 1 if a step fails."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description=__doc__)
    parser.add_argument("stage")
    arguments = parser.parse_args()
    try:
        where = deploy(arguments.stage, allow_loss=os.environ.get("ALLOW_LOSS") == "yes")
        say(f"deployed: {where}")
        return 0 if smoke.try_stage(arguments.stage, where, say) else 1
    except DeployFault as fault:
        print(f"seckill: {fault}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
