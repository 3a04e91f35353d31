"""A short chaos run, through either broker: real processes are killed, and nothing is lost."""

import json
import subprocess
import sys

import pytest

from chaos.run import BUILD
from localstack.cloud import ROOT

# Long enough for each kind of fault at least once; the seeds are nothing special.
MINUTES = "0.4"
HUNG_AFTER_S = 3600


@pytest.mark.parametrize(("publisher", "seed"), [("sns", "21"), ("sqs", "22")])
def test_nothing_is_lost_and_nobody_is_lied_to(publisher: str, seed: str) -> None:
    command = [sys.executable, "-m", "chaos", "--minutes", MINUTES]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "--seed", seed, "--publisher", publisher],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HUNG_AFTER_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((BUILD / "chaos.json").read_text(encoding="utf-8"))
    assert (report["seed"], report["violations"]) == (int(seed), 0)
    assert report["accepted"] > 0
    assert len(report["faults"]) > 8
