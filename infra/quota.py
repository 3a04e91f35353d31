"""Whether Lambda runs as many functions at once as a stage needs; asked before anything is made."""

from collections.abc import Mapping
from typing import Any

from infra.choices import LEFT_TO_OTHERS, choices_of
from infra.faults import DeployFault, told_in_one_line
from infra.stack import Say


def reserved(config: Mapping[str, Any], name: str) -> int:
    """How many functions a stage keeps for itself, whatever else the account runs."""
    functions = config["stages"][name]["lambda_functions"].values()
    return sum(function.get("reserved_concurrency", 0) for function in functions)


def require(client: Any, config: Mapping[str, Any], name: str, say: Say) -> None:
    """Compare what the stage may need with what the account may run.

    A stage that reserves nothing is only told: for trying it out, the 10 of a new account do.

    Raises:
        DeployFault: the stage reserves, and consumers and who pays would not have their room.
    """
    kept = reserved(config, name)
    wanted = kept + max(choices_of(name).functions, LEFT_TO_OTHERS if kept else 0)
    with told_in_one_line():
        may = client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    if wanted <= may:
        return
    if not kept:
        say(f"{name} may need {wanted} functions at once; this account runs {may}")
        return
    message = f"{name} needs {wanted} functions at once, and Lambda runs {may} for this account: ask AWS for more (Service Quotas, Lambda, Concurrent executions), or choose less in infra/choices.py"  # noqa: E501
    raise DeployFault(message)
