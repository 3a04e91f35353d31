"""Deploy a stage, from nothing or again: `python -m infra.deploy dev`.

The template, its outputs into the stage, `chalice deploy`, a smoke test. Each step may be
interrupted at any point; running it again goes on.
"""

import argparse
import os
import subprocess
import sys
from typing import Any, cast

import boto3
from botocore.exceptions import NoRegionError

from infra import adopt, smoke, stack, stage
from infra.faults import DeployFault, told_in_one_line
from infra.http import Sale
from infra.package import CHALICE, ROOT
from infra.policies import log_group

# The stage for LocalStack: the store is one that runs already, REDIS_URL.
LOCAL = "local"


def say(line: str) -> None:
    """A line of progress."""
    print(line, flush=True)


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


def deploy(name: str, *, allow_loss: bool = False) -> str:
    """Deploy stage `name`; returns the API's URL, without a slash at its end.

    Raises:
        DeployFault: a step failed; the message says which, and running it again is safe.
    """
    config = stage.read()
    session = account(config, name)
    cloud = name != LOCAL
    parameters = {"Stage": name, "Cloud": "true"} if cloud else {"Stage": name}
    wanted = stack.Stack(f"seckill-{name}", stack.TEMPLATE.read_text(), parameters, allow_loss)
    outputs = stack.apply(session.client("cloudformation"), wanted, say)
    if not cloud and os.environ.get("REDIS_URL"):
        outputs["RedisUrl"] = os.environ["REDIS_URL"]
    stage.write(stage.with_outputs(config, name, outputs, cloud=cloud))
    say(f"outputs are in .chalice/config.json: {', '.join(sorted(outputs))}")
    with told_in_one_line():
        adopted = adopt.adopt(client_of(session), ROOT, name)
    if adopted:
        say(f"found in the account, and gone on with: {', '.join(adopted)}")
    keep_logs(session.client("logs"), config, name)
    run_chalice("deploy", name)
    return adopt.api_url(ROOT, name)


def keep_logs(logs: Any, config: dict[str, Any], name: str) -> None:
    """Make the log group of the routes' function: Chalice gets its name wrong.

    Raises:
        DeployFault: it can't be made.
    """
    group = log_group(name, "api_handler")
    days = config["stages"][name]["log_retention_in_days"]
    with told_in_one_line():
        there = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        if group not in [found["logGroupName"] for found in there]:
            logs.create_log_group(logGroupName=group)
        logs.put_retention_policy(logGroupName=group, retentionInDays=days)


def run_chalice(command: str, name: str) -> None:
    """Run a command of Chalice's; its output is shown as it comes.

    Raises:
        DeployFault: it failed.
    """
    done = subprocess.run(  # noqa: S603 - our own command
        [str(CHALICE), command, "--stage", name], cwd=ROOT, check=False
    )
    if done.returncode:
        message = f"chalice {command} failed, see above; what runs goes on, and running this again is safe"  # noqa: E501
        raise DeployFault(message)


def main() -> int:
    """Deploy, say where it is, and try it; 1 if a step fails."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description=__doc__)
    parser.add_argument("stage")
    arguments = parser.parse_args()
    try:
        where = deploy(arguments.stage, allow_loss=os.environ.get("ALLOW_LOSS") == "yes")
    except DeployFault as fault:
        print(f"seckill: {fault}", file=sys.stderr)
        return 1
    say(f"deployed: {where}")
    return 0 if smoke.run(Sale.at(where), say) else 1


if __name__ == "__main__":
    sys.exit(main())
