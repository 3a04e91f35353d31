"""Random histories break no rule; and the judge finds what is wrong."""

from collections.abc import Iterator

import pytest

from simulate.chance import history
from simulate.judge import judge
from simulate.lab import Lab, open_lab
from simulate.run import play
from simulate.steps import read_script, write_script

GROUPS = 8
HISTORIES = 200


@pytest.fixture
def lab(store_url: str) -> Iterator[Lab]:
    with open_lab(store_url) as lab:
        yield lab


@pytest.mark.parametrize("group", range(GROUPS))
def test_random_histories_break_no_rule(lab: Lab, group: int) -> None:
    for seed in range(1 + group, 1 + HISTORIES, GROUPS):
        steps = history(seed)
        assert judge(play(lab, steps)) == [], f"seed {seed}\n{write_script(steps)}"


def test_a_script_is_read_as_it_was_written() -> None:
    for seed in range(50):
        steps = history(seed)
        assert read_script(write_script(steps)) == steps
