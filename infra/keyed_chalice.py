"""Chalice's own command line, with the admission keys among the settings of the routes' function.

`python -m infra.keyed_chalice deploy --stage dev`, as `make deploy` runs it. The keys come by the
environment, ADMISSION_KEYS, and Lambda gets them in the same call as the function's other settings,
so a deployment has no moment without them. They stay in this process: nobody writes them to a file.
"""

import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import chalice.cli
from chalice.cli.factory import CLIFactory

from infra.hidden import NAME, hide


def factory(keys: str, *arguments: Any, **more: Any) -> Any:
    """What Chalice makes its parts with, for a configuration that has `keys` in it."""
    made: Any = CLIFactory(*arguments, **more)
    made.load_project_config = partial(_keyed, made.load_project_config, keys)
    made.load_chalice_app = partial(_imported, made.load_chalice_app)
    made.create_botocore_session = partial(_discreet, made.create_botocore_session, keys)
    return made


def _keyed(load: Any, keys: str) -> Any:
    config = load()
    for stage in config["stages"].values():  # Chalice reads the one that it deploys
        handler = stage.setdefault("lambda_functions", {}).setdefault("api_handler", {})
        handler.setdefault("environment_variables", {})[NAME] = keys
    return config


def _imported(load: Any, environ: Mapping[str, str], **more: Any) -> Any:
    """The app: Chalice sets the function's settings here too, and the keys are not for here."""
    return load({name: value for name, value in environ.items() if name != NAME}, **more)


def _discreet(create: Any, keys: str, **more: Any) -> Any:
    session = create(**more)
    hide(session, keys)
    return session


def main() -> int:
    """Run a command of Chalice's."""
    program: Any = chalice.cli
    # Taken out of the environment, which the app and pip see.
    program.CLIFactory = partial(factory, os.environ.pop(NAME))
    code: int = program.main()
    return code


if __name__ == "__main__":
    sys.exit(main())
