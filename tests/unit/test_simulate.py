"""Random histories break no rule. Those of a broken program do, and are shrunk to a few steps."""

import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chalicelib.events import AnyEvent, CouponEvent
from chalicelib.projections import coupons
from chalicelib.projections.coupons import CouponRow
from simulate import broker, run
from simulate.acts import HANDLERS
from simulate.chance import history
from simulate.effects import Died, Effects, Process
from simulate.evidence import Answer
from simulate.judge import judge
from simulate.lab import Lab
from simulate.run import Play, play, shrunk
from simulate.shrink import shrink
from simulate.steps import (
    Fault,
    Grab,
    InvalidScript,
    Restock,
    Sale,
    Step,
    Time,
    read_script,
    write_script,
)
from simulate.world import World

HISTORIES = 200
GROUPS = 8


@pytest.mark.parametrize("group", range(GROUPS))
def test_random_histories_break_no_rule(lab: Lab, group: int) -> None:
    for seed in range(1 + group, 1 + HISTORIES, GROUPS):
        played = history(seed)
        found = judge(play(lab, played))
        if found:
            failure = shrunk(play, lab, played, found[0].rule)
            pytest.fail("\n".join([*map(str, failure.violations), failure.script]), pytrace=False)


# --- a program that is broken on purpose --------------------------------------------------------

DAY = read_script("""
Sale(stock=2, limit=2, hold_s=30, order='shuffled')
Grab(key='k1')
Pay()
Grab(who='bob')
Grab(who='carol')
Consumer(queue='active', mode='stopped')
Time(ms=1000)
GiveBack()
GiveBack(who='bob')
Repeat(queue='coupons', nth=-2)
Restock()
Grab(who='bob', key='k2')
Grab(who='carol')
Pay(who='carol')
Sweep()
Deliver(queue='active', nth=-1)
Wake()
Grab()
Time(ms=30000)
Grab(who='dave')
Pay(who='dave', reference='visa-2')
Restock(key='tuesday')
""")


def selling_twice(world: World, step: Grab) -> None:
    """A store whose count of free units is set back with each grab."""
    HANDLERS[Grab](world, step)
    if world.promotion_id:
        world.lab.real.hset(world.key_of("promotion"), "available", 1)


def adding_nothing(world: World, step: Restock) -> None:
    """A restock that is answered and not done."""
    world.answers.append(
        Answer(
            "restock", "RESTOCKED", world.now, world.now, world.index, world.index,
            asked={"add": step.add, "key": step.key},
        )
    )  # fmt: skip


def playing_with(**handlers: Callable[[World, Any], None]) -> Play:
    changed = {**HANDLERS, **{cls: handlers.get(cls.__name__, HANDLERS[cls]) for cls in HANDLERS}}
    return lambda lab, steps: play(lab, steps, handlers=changed)


def test_a_day_without_faults_breaks_no_rule(lab: Lab) -> None:
    assert judge(play(lab, DAY)) == []


def test_a_store_that_sells_a_unit_twice_is_found(lab: Lab) -> None:
    broken = playing_with(Grab=selling_twice)
    failure = shrunk(broken, lab, DAY, "never oversold")
    steps = read_script(failure.script)
    assert [type(step).__name__ for step in steps] == ["Sale", "Grab", "Grab"]
    assert judge(broken(lab, steps)), "the script repeats the violation"
    assert judge(play(lab, steps)) == []


def test_an_answer_that_is_not_true_is_found(lab: Lab) -> None:
    failure = shrunk(playing_with(Restock=adding_nothing), lab, DAY, "the stock is as answered")
    assert failure.script == "Sale()\nRestock()\n"


def test_a_projection_that_takes_whatever_comes_last_is_found(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(event: AnyEvent) -> None:
        if isinstance(event, CouponEvent):
            CouponRow(event.customer_id, f"{event.promotion_id}-{event.number}").delete()
        coupons.on_event(event)

    consumers = broker.projections

    def with_a_careless_one(ask: broker.Ask) -> dict[str, tuple[broker.Handle, ...]]:
        return {**consumers(ask), "coupons": (careless,)}

    monkeypatch.setattr(broker, "projections", with_a_careless_one)
    failure = shrunk(play, lab, DAY, "the coupons table is a fold of the journal")
    kinds = [type(step).__name__ for step in read_script(failure.script)]
    assert kinds in (["Sale", "Grab", "Pay", "Repeat"], ["Sale", "Grab", "GiveBack", "Repeat"])


def test_a_broker_that_loses_messages_is_found(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(_: broker.MessageQueue, body: str) -> None:
        assert body

    monkeypatch.setattr(broker.MessageQueue, "put", forgetful)
    failure = shrunk(play, lab, DAY, "every coupon that was answered has a true record")
    assert failure.script == "Sale()\nGrab()\n"


# --- the simulator itself -----------------------------------------------------------------------


def test_the_same_steps_end_the_same(lab: Lab) -> None:
    for seed in range(1, 12):
        ends = []
        for _ in range(2):
            log: list[str] = []
            ends.append((log, play(lab, history(seed), log)))
        assert ends[0] == ends[1], f"seed {seed}"


def test_a_script_is_read_as_it_was_written() -> None:
    for seed in range(50):
        steps = history(seed)
        assert read_script(write_script(steps)) == steps


@pytest.mark.parametrize(
    "text", ["Sale(", "grab()", "Fault()", "1", "Grab('alice')", "Grab(whom='a')", "Grab(fault=1)"]
)
def test_what_is_not_a_script_is_refused(text: str) -> None:
    with pytest.raises(InvalidScript):
        read_script(text)


def test_shrinking_leaves_what_is_needed() -> None:
    long: list[Step] = [Sale(stock=4, limit=3), *[Time(ms=9)] * 9, Grab(who="bob"), Restock(add=2)]

    def fails(steps: list[Step]) -> bool:
        kinds = {type(step) for step in steps}
        return {Grab, Restock} <= kinds

    assert shrink(long, fails) == [Sale(), Grab(), Restock()]


@pytest.mark.parametrize(
    ("kind", "done"),
    [
        ("dies", ["a"]),
        ("fails", ["a", "c"]),
        ("unheard", ["a", "b", "c"]),
        ("again", ["a", "b", "meanwhile", "b", "c"]),
        ("waits", ["a", "meanwhile", "b", "c"]),
    ],
)
def test_each_fault_happens_at_its_call(kind: Any, done: list[str]) -> None:
    happened: list[str] = []
    effects = Effects(lambda: 0, lambda _: happened.append("meanwhile"))

    def work() -> None:
        for name in ("a", "b", "c"):
            with suppress(ConnectionError):
                effects.call(name, partial(happened.append, name), ConnectionError)

    process = Process(Fault(kind, 2, 1), deadline=10)
    with pytest.raises(Died) if kind == "dies" else nullcontext():
        effects.run(process, work)
    assert happened == done
    assert process.met == "b (call 2)"


def test_a_process_that_was_suspended_for_too_long_ends() -> None:
    clock = [0]
    effects = Effects(lambda: clock[0], lambda count: clock.append(clock.pop() + 1000 * count))
    process = Process(Fault("waits", 1, 3), deadline=3000)
    with pytest.raises(Died):
        effects.run(process, lambda: effects.call("a", lambda: None, ConnectionError))
    again = replace(process, fault=Fault("waits", 1, 2), count=0, dead=False, deadline=9000)
    assert effects.run(again, lambda: effects.call("a", lambda: 7, ConnectionError)) == 7


def test_the_program_says_what_it_has_played(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "history"
    script.write_text("# nothing goes wrong\nSale()\nGrab()\n")
    monkeypatch.setattr(sys, "argv", ["simulate", "--replay", str(script)])
    assert run.main() == 0
    shown = capsys.readouterr().out
    assert "2 Grab(): GRANTED 1 GRABBED" in shown
    assert shown.endswith("1 history, 2 steps, 0 violations\n")


def test_a_failure_is_shown_and_kept_as_a_script(
    lab: Lab,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    monkeypatch.setattr(run, "play", playing_with(Restock=adding_nothing))
    assert run.search(lab, range(1, 40), go_on=False) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].startswith("# the stock is as answered")
    assert [line for line in shown if line.startswith(("Sale(", "Restock("))] == shown[2:4]
    assert shown[-1].endswith("1 violation")
    kept = next(tmp_path.iterdir()).read_text()
    assert write_script(read_script(kept)) == "\n".join([*shown[2:4], ""])
