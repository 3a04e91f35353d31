"""Play random histories, judge each of them, and print the first one that fails as a script."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localstack.processes import LocalCloudError
from simulate.acts import HANDLERS
from simulate.chance import history
from simulate.ending import forget, gather, heal
from simulate.evidence import Evidence, Row
from simulate.fold import counts_of, name
from simulate.judge import Violation, judge
from simulate.lab import Lab, open_lab
from simulate.shrink import shrink
from simulate.steps import InvalidScript, Step, read_script, write_script
from simulate.world import BEGINS_AT, World

Play = Callable[[Lab, list[Step]], Evidence]
Handlers = Mapping[type[Step], Callable[[World, Any], None]]
_PROGRESS_S = 0.5
# Failing histories are kept here.
FOLDER = Path("build")


@dataclass(frozen=True, slots=True)
class Failure:
    """A history that breaks a rule, shrunk."""

    violations: list[Violation]
    script: str


def main() -> int:
    """Run; returns 0 only without violations."""
    parser = argparse.ArgumentParser(prog="python -m simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first history; default 1")
    parser.add_argument("--histories", type=int, default=200, help="how many; default 200")
    parser.add_argument("--replay", type=Path, help="play the history in this file instead")
    parser.add_argument(
        "--all", action="store_true", help="go on after a violation, and show one of each kind"
    )
    arguments = parser.parse_args()
    try:
        with open_lab() as lab:
            if arguments.replay:
                return _replay(lab, read_script(arguments.replay.read_text()))
            seeds = range(arguments.seed, arguments.seed + arguments.histories)
            return search(lab, seeds, go_on=arguments.all)
    except (LocalCloudError, InvalidScript, OSError) as error:
        print(f"seckill: {error}", file=sys.stderr)
        return 1


def play(
    lab: Lab,
    steps: list[Step],
    log: list[str] | None = None,
    handlers: Handlers = HANDLERS,
) -> Evidence:
    """Play one history to its end; what its processes returned is appended to `log`."""
    world = World(lab, steps)
    world.log = [] if log is None else log
    try:
        world.play(handlers)
        heal(world)
        return gather(world)
    finally:
        forget(world)


def failures(
    lab: Lab, seeds: range, report: Callable[[int, int], None]
) -> Iterator[tuple[int, Failure]]:
    """Play the histories of these seeds; the seed and the failure of those that break a rule.

    A rule that was broken before is not reported again.
    """
    known: set[str] = set()
    steps = 0
    for count, seed in enumerate(seeds, start=1):
        played = history(seed)
        steps += len(played)
        report(count, steps)
        for violation in judge(play(lab, played)):
            if violation.rule not in known:
                failure = shrunk(play, lab, played, violation.rule)
                known |= {broken.rule for broken in failure.violations}
                yield seed, failure


def shrunk(play: Play, lab: Lab, played: list[Step], rule: str) -> Failure:
    """The shortest history found that breaks this rule, as `played` does."""

    def fails(steps: list[Step]) -> bool:
        return any(violation.rule == rule for violation in judge(play(lab, steps)))

    shortest = shrink(played, fails)
    return Failure(judge(play(lab, shortest)), write_script(shortest))


def search(lab: Lab, seeds: range, *, go_on: bool) -> int:
    """Play the histories of these seeds and print what is found; returns 0 if nothing is."""
    progress = _Progress(len(seeds))
    found = 0
    for seed, failure in failures(lab, seeds, progress.show):
        found += 1
        progress.clear()
        _print_failure(seed, failure)
        if not go_on:
            break
    progress.clear()
    violations = "1 violation" if found == 1 else f"{found} violations"
    print(f"{progress.count} histories, {progress.steps} steps, {violations}")
    return 1 if found else 0


def _replay(lab: Lab, steps: list[Step]) -> int:
    log: list[str] = []
    evidence = play(lab, steps, log)
    found = judge(evidence)
    print("\n".join(["steps, what each process returned:", *log, "", "journal and conflicts:"]))
    for event in evidence.journal:
        print(f"  {_line(event)}")
    for event in evidence.conflicts:
        print(f"  conflict: {_line(event)}")
    print()
    for violation in found:
        print(violation)
    print(f"1 history, {len(steps)} steps, {len(found)} violations")
    return 1 if found else 0


def _line(event: Row) -> str:
    """An event, for a person."""
    left_out = {"type", "promotionId", "version", "stock", "available", "held", "sold", "at"}
    rest = " ".join(f"{key}={value}" for key, value in event.items() if key not in left_out)
    counts = "/".join(map(str, counts_of(event)))
    return f"{event['at'] - BEGINS_AT:8d} {name(event):28} {counts} {rest}"


def _print_failure(seed: int, failure: Failure) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"history-{seed}"
    lines = [f"# seed {seed}; again with: python -m simulate --replay {path}"]
    rules = Counter(violation.rule for violation in failure.violations)
    lines += [f"# {broken}" for broken in failure.violations if rules.pop(broken.rule, 0)]
    text = "\n".join([*lines, failure.script])
    path.write_text(text)
    print(text)


class _Progress:
    """One line on a terminal; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.count = 0
        self.steps = 0
        self._shown_at = 0.0
        self._terminal = sys.stdout.isatty()

    def show(self, count: int, steps: int) -> None:
        """So many histories are done."""
        self.count, self.steps = count, steps
        if self._terminal and time.monotonic() - self._shown_at > _PROGRESS_S:
            self._shown_at = time.monotonic()
            print(f"\r{count} of {self.total} histories, {steps} steps", end="", flush=True)

    def clear(self) -> None:
        """Make room for other output."""
        if self._terminal:
            print("\r\x1b[K", end="")
