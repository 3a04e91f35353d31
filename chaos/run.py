"""The local cloud under load, with faults from a seeded schedule; then a checker decides."""

import argparse
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from chaos.checker import check
from chaos.client import read_lines
from chaos.evidence import Witness
from chaos.faults import Injector
from chaos.findings import Findings
from chaos.parts import Parts, parts
from chaos.promises import GRANTED, UNAVAILABLE
from chaos.schedule import KINDS, schedule
from localstack.cloud import ROOT
from localstack.processes import Child, LocalCloudError

FOLDER = ROOT / ".local" / "chaos"
BUILD = ROOT / "build"
CROWDS = 3
THREADS = 8
MINUTES = (0.1, 30.0)
TICK_S = 0.05
PROGRESS_S = 10.0
# Sales end, poison reaches its queues, the last customers get their answers. However long that
# takes on a busy machine, it is waited for as long as something changes; what does not change for
# so long hangs.
HANGS_AFTER_S = 300.0
STILL_S = 2.0
WHERE_SHOWN = 200


@dataclass(slots=True)
class Load:
    """The processes of the shop and of the crowd, and what they write."""

    children: list[Child] = field(default_factory=list)
    histories: list[Path] = field(default_factory=list)

    def check(self) -> None:
        """Raise if one of them broke.

        Raises:
            LocalCloudError: names it.
        """
        for child in self.children:
            if child.process.poll() not in (None, 0):
                child.check()

    @property
    def written(self) -> int:
        """How much their histories have: it grows with each answer."""
        return sum(path.stat().st_size for path in self.histories if path.exists())

    @property
    def gone(self) -> bool:
        """True when all customers have their answer, or have given up."""
        return all(child.process.poll() is not None for child in self.children)


class Changes:
    """Tells what goes on from what hangs."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._seen: object = None
        self._since = time.monotonic()

    def go_on(self, seen: object) -> bool:
        """False once the same was seen for too long."""
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since < HANGS_AFTER_S


def main() -> int:
    """Run; returns 0 only without violations."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="the same faults again (default: a new one)")
    parser.add_argument("--minutes", type=float, default=2.5, help="of faults, default 2.5")
    parser.add_argument("--faults", default=",".join(KINDS), help="kinds, default all: %(default)s")
    parser.add_argument("--publisher", choices=["sns", "sqs"], default="sns")
    arguments = parser.parse_args()
    kinds = [kind for kind in arguments.faults.split(",") if kind]
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not MINUTES[0] <= arguments.minutes <= MINUTES[1]:
        what = f"no such fault: {', '.join(unknown)}" if unknown else "minutes: from 0.1 to 30"
        print(f"seckill: {what}", file=sys.stderr)
        return 1
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    try:
        return _run(seed, arguments.minutes * 60, kinds, arguments.publisher)
    except LocalCloudError as error:
        print(f"seckill: {error}", file=sys.stderr)
        return 1


def _run(seed: int, seconds: float, kinds: Sequence[str], publisher: str) -> int:
    started = time.monotonic()
    print(f"seckill: chaos with seed {seed}, {seconds:.0f} s of faults, publisher {publisher}")
    with parts(FOLDER, publisher, seed) as running:
        _say("local cloud", f"ready after {time.monotonic() - started:.1f} s")
        witness = Witness(running)
        injector = Injector(running, witness.queues, FOLDER / "faults.jsonl", seed)
        with _load(running, seed, time.time() + seconds) as load:
            injector.plan(schedule(seed, seconds, kinds))
            _let_it_rage(running, injector, load, witness, seconds)
            running.mortal.clear()
            quiet = _settle(running, witness, load)
        evidence = witness.gather(load.histories, dict(injector.poison), running.ended)
    _write(FOLDER / "evidence.json", json.dumps(evidence, default=str))
    findings = check(evidence)
    if quiet:
        findings.add("quiet: not within its time", quiet)
    report = _report(seed, seconds, injector, evidence, findings)
    report |= {"publisher": publisher, "total_seconds": round(time.monotonic() - started, 1)}
    BUILD.mkdir(exist_ok=True)
    _write(BUILD / "chaos.json", json.dumps(report, indent=2) + "\n")
    _print_verdict(report, findings)
    return 1 if findings.count else 0


@contextmanager
def _load(running: Parts, seed: int, until: float) -> Iterator[Load]:
    """Shop and crowd, until the epoch second `until`; ended if something breaks before."""
    load = Load()
    urls = [part for url in running.urls for part in ("--url", url)]

    def start(name: str, *more: str, number: int) -> None:
        history = FOLDER / f"history-{name}.jsonl"
        load.histories.append(history)
        command = [
            sys.executable, "-m", f"chaos.{name.partition('-')[0]}", *urls, "--plan",
            str(FOLDER / "plan.jsonl"), "--history", str(history),
            "--seed", str(seed * 100 + number), *more,
        ]  # fmt: skip
        load.children.append(Child(name, command, running.environ, FOLDER))

    try:
        start("shop", "--until", str(until), number=0)
        for number in range(1, CROWDS + 1):
            start(f"crowd-{number}", "--threads", str(THREADS), "--until", str(until + 4),
                  number=number)  # fmt: skip
        yield load
    finally:
        for child in load.children:
            child.stop()


def _let_it_rage(
    running: Parts, injector: Injector, load: Load, witness: Witness, seconds: float
) -> None:
    begin = time.monotonic()
    told = begin
    while (now := time.monotonic()) < begin + seconds or injector.busy:
        injector.tick()
        running.check()
        load.check()
        if now - told > PROGRESS_S:
            told = now
            counts = Counter(line["status"] in GRANTED for line in _history(load))
            _say(f"{now - begin:4.0f} s", f"{counts.total():,} requests, {counts[True]:,} coupons, "
                 f"{injector.done.total()} faults, {sum(witness.depths().values())} messages in"
                 " queues")  # fmt: skip
        time.sleep(TICK_S)


def _history(load: Load) -> list[Any]:
    return [line for path in load.histories for line in read_lines(path)]


def _settle(running: Parts, witness: Witness, load: Load) -> str:
    """Wait until the crowd has gone and nothing moves any more; what still does, else empty."""
    begin = time.monotonic()
    changes = Changes()
    while not load.gone and changes.go_on(load.written):
        running.check()
        load.check()
        time.sleep(TICK_S)
    still_since: float | None = None
    unquiet = "the crowd" if not load.gone else "nothing seen yet"
    while changes.go_on(unquiet):
        running.check()
        unquiet = witness.unquiet()
        if unquiet:
            still_since = None
        elif still_since is None:
            still_since = time.monotonic()
        elif time.monotonic() - still_since > STILL_S:
            break
        time.sleep(0.5)
    _say("quiet", unquiet or f"{time.monotonic() - begin:.1f} s after the last fault")
    return unquiet


def _report(
    seed: int, seconds: float, injector: Injector, evidence: dict[str, Any], findings: Findings
) -> dict[str, Any]:
    history = evidence["history"]
    answers = Counter(f"{line['what']} {line['status']} {line['code']}".strip() for line in history)
    return {
        "seed": seed,
        "fault_seconds": seconds,
        "faults": {kind: injector.done[kind] for kind in KINDS if injector.done[kind]},
        "killed_at": Counter(line["killed"] for line in read_lines(FOLDER / "deaths.jsonl")),
        "requests": len(history),
        "accepted": sum(line["status"] in GRANTED for line in history),
        "unanswered": sum(line["status"] == 0 for line in history),
        "promotions": len({event["promotionId"] for event in evidence["journal"]}),
        "events": len(evidence["journal"]),
        "conflicts": len(evidence["conflicts"]),
        "away_s": away_s(history),
        "answers": dict(sorted(answers.items())),
        "violations": findings.count,
        "found": {wrong: places[:WHERE_SHOWN] for wrong, places in findings.found.items()},
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def away_s(history: Sequence[Mapping[str, Any]]) -> list[float]:
    """How long customers heard RECOVERING, each time until they were served again; sorted."""
    found = []
    since: dict[str, float] = {}
    for line in sorted(history, key=lambda line: float(line["ended"])):
        if line["code"] == "RECOVERING":
            since.setdefault(line["promotion"], line["started"])
        elif 0 < line["status"] < UNAVAILABLE and line["promotion"] in since:
            found.append(round((line["ended"] - since.pop(line["promotion"])) / 1000, 1))
    return sorted(found)


def _print_verdict(report: dict[str, Any], findings: Findings) -> None:
    print(f"\n  faults      {', '.join(f'{n} {kind}' for kind, n in report['faults'].items())}")
    killed_at = report["killed_at"]
    print(f"  killed at   {sum(killed_at.values())} statements of recoveries, "
          f"{len(killed_at)} different ones")  # fmt: skip
    print(f"  requests    {report['requests']:,}, {report['accepted']:,} coupons granted, "
          f"{report['unanswered']:,} without an answer")  # fmt: skip
    print(f"  journal     {report['events']:,} events of {report['promotions']} promotions, "
          f"{report['conflicts']} conflicts")  # fmt: skip
    took = report["away_s"]
    if took:
        print(f"  recovering  {len(took)} times, {median(took):.0f} s at the median, "
              f"{took[-1]:.0f} s at the most")  # fmt: skip
    print()
    for sentence in findings.sentences():
        print(f"  violation: {sentence}")
    verdict = "PASSED" if not findings.count else "FAILED"
    print(f"{verdict}: {findings.count} violations with seed {report['seed']};"
          " see build/chaos.json, and .local/chaos for logs and evidence")  # fmt: skip


def _say(what: str, text: str) -> None:
    print(f"  {what:<12}{text}", flush=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
