"""Take a stage down, with all its data: `python -m infra.destroy dev`; prod wants CONFIRM=prod."""

import argparse
import os
import sys

from infra import adopt, edge, stack, stage
from infra.account import LOCAL, account, client_of
from infra.deploy import NO_POOL, api_of, run_chalice, say, stack_names, stage_arn
from infra.faults import DeployFault, told_in_one_line
from infra.package import ROOT

_ASKS_FIRST = ("prod",)


def destroy(name: str, confirmed: str) -> None:
    """Delete the stage's functions, API and stacks, in whatever state they are.

    Raises:
        DeployFault: it was not confirmed, or something could not be deleted; again is safe.
    """
    config = stage.read()
    if name in _ASKS_FIRST and confirmed != name:
        message = f"this deletes all of {name} with its data: say CONFIRM={name}"
        raise DeployFault(message)
    session = account(config, name)
    with told_in_one_line():
        adopt.adopt(client_of(session), ROOT, name)
    api = api_of(config, name)
    if api is not None and name != LOCAL:
        edge.unguard(session.client("wafv2"), stage_arn(session, api))
    if adopt.noted(ROOT, name):
        run_chalice("delete", name, NO_POOL)
    for full in reversed(stack_names(name)):
        stack.remove(session.client("cloudformation"), full, say)
    stage.write(stage.without_outputs(stage.read(), name))
    say(f"{name} is gone")


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
