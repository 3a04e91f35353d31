"""A failing history, made as short and as plain as possible."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from simulate.steps import Fault, Step

Fails = Callable[[list[Step]], bool]


def shrink(history: list[Step], fails: Fails) -> list[Step]:
    """The shortest history found that still fails; the first step, the sale, stays.

    Args:
        history: it fails.
        fails: plays a history; true where it breaks the same rule.
    """
    while True:
        shorter = _without_steps(history, fails)
        plainer = _plainer(shorter, fails)
        if plainer == history:
            return plainer
        history = plainer


def _without_steps(history: list[Step], fails: Fails) -> list[Step]:
    """Delta debugging: take out ever smaller parts, as long as what is left fails."""
    size = max(1, (len(history) - 1) // 2)
    while size:
        start = 1
        while start < len(history):
            candidate = history[:start] + history[start + size :]
            if fails(candidate):
                history = candidate
            else:
                start += size
        size //= 2
    return history


def _plainer(history: list[Step], fails: Fails) -> list[Step]:
    """Replace values by plainer ones, step by step."""
    place = 0
    while place < len(history):
        for candidate in _plainer_steps(history[place]):
            changed = [*history[:place], candidate, *history[place + 1 :]]
            if fails(changed):
                history = changed
                break
        else:
            place += 1
    return history


def _plainer_steps(step: Step) -> Iterator[Step]:
    """Steps that are a little plainer: closer to the defaults, smaller numbers, no fault."""
    for field in fields(step):
        value = getattr(step, field.name)
        if isinstance(value, Fault):
            yield replace(step, fault=None)
            if value.steps > 0:
                yield replace(step, fault=replace(value, steps=value.steps - 1))
            if value.kind != "dies":
                yield replace(step, fault=Fault("dies", value.at))
            if value.at > 1:
                yield replace(step, fault=replace(value, at=value.at - 1))
        elif value != field.default:
            yield _with(step, field.name, field.default)
            # Half way to the default: never away from it, or it would go on for ever.
            if isinstance(value, int) and isinstance(field.default, int) and value > field.default:
                middle = (value + field.default) // 2
                if middle not in (value, field.default):
                    yield _with(step, field.name, middle)


def _with(step: Step, name: str, value: Any) -> Step:
    changes: dict[str, Any] = {name: value}
    return replace(step, **changes)
