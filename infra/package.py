"""What is deployed, as `chalice package` makes it, from a clean copy of what ships."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.faults import DeployFault

ROOT = Path(__file__).parent.parent
CHALICE = Path(sys.executable).with_name("chalice")
_SHIPS = ("app.py", "chalicelib", "requirements.txt")
_NO_BYTECODE = shutil.ignore_patterns("__pycache__")


def copy_project(folder: Path) -> None:
    """Copy what ships, and Chalice's configuration, to a new folder."""
    (folder / ".chalice").mkdir(parents=True)
    for name in _SHIPS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=_NO_BYTECODE)
        else:
            shutil.copy(ROOT / name, folder / name)
    for path in (ROOT / ".chalice").glob("*.json"):
        shutil.copy(path, folder / ".chalice")


def package(project: Path, stage: str, out: Path) -> None:
    """Make `deployment.zip` and `sam.json` of a project in `out`.

    Raises:
        DeployFault: Chalice could not; the message is its own last line.
    """
    environ = {"AWS_DEFAULT_REGION": "us-east-1", **os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(  # noqa: S603 - our own command
        [str(CHALICE), "package", "--stage", stage, str(out)],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        message = f"chalice package: {lines[-1] if lines else 'no output'}"
        raise DeployFault(message)
