"""The end of a history: everything that was broken is mended, time passes, evidence is gathered."""

import json
from collections.abc import Iterator
from typing import Any

from chalicelib.timers import DOUBT
from simulate import tables
from simulate.acts import HANDLERS
from simulate.evidence import CouponKey, Evidence, Row
from simulate.lab import WATCH_S
from simulate.steps import Sweep, Wake
from simulate.world import World

_TABLE = "seckill-local-{}"
# A coupon in the store is "number version at state ...", the state one letter; see coupon.lua.
_LETTERS = {"G": "GRABBED", "P": "PAID", "R": "RELEASED", "B": "RELEASED", "V": "REVOKED",
            "D": "REFUND_DUE", "E": "REFUND_DUE", "F": "REFUND_DUE", "W": "REFUND_DUE"}  # fmt: skip
# Rounds in which recoveries settle, before and after the end of the sale.
_SETTLES_MS = (1_000, 11_000, 11_000)
_MOST_TIMERS = 20


def heal(world: World) -> None:
    """End all outages, send all dead letters on, and let the system come to rest by itself."""
    world.log.append("    everything is mended")
    world.broker.mode = "works"
    world.tables_away = ()
    for queue in world.broker.all_queues:
        queue.mode = "runs"
        queue.redrive()
    world.settle()
    for pause_ms in _pauses(world):
        if _at_rest(world):
            break
        world.pass_ms(pause_ms)
        _round(world)


def _pauses(world: World) -> Iterator[int]:
    """How long to wait before each round."""
    yield from _SETTLES_MS
    yield max(1, world.ends_at - world.now)
    for _ in range(3):
        yield from _SETTLES_MS
        yield WATCH_S * 1000 + 1


def _round(world: World) -> None:
    for _ in range(_MOST_TIMERS):
        left = len(world.timers)
        HANDLERS[Wake](world, Wake())
        world.settle()
        if len(world.timers) == left:
            break
    HANDLERS[Sweep](world, Sweep())
    world.settle()


def _at_rest(world: World) -> bool:
    waiting = any(queue.waiting for queue in world.broker.all_queues)
    asked = any(armed.timer.due_at == DOUBT for armed in world.timers)
    return not waiting and not asked and not world.live() and not _open_conflicts()


def _open_conflicts() -> int:
    found = tables.rows(_TABLE.format("conflicts"))
    return sum("settled" not in row for row in found)


def gather(world: World) -> Evidence:
    """All that the judge needs."""
    real = world.lab.real
    store: Any = real.hgetall(world.key_of("promotion")) if world.promotion_id else {}
    customers: Any = real.hgetall(world.key_of("customers")) if store else {}
    promotions = tables.rows(_TABLE.format("promotions"))
    active = tables.rows(_TABLE.format("active-promotions"))
    facts = world.facts
    return Evidence(
        journal=_events("events"),
        conflicts=_events("conflicts"),
        open_conflicts=_open_conflicts(),
        coupons=tables.rows(_TABLE.format("coupons")),
        active=active[0] if active else None,
        promotion=promotions[0] if promotions else None,
        store=store,
        owned=dict(_owned(customers)),
        waiting=int(real.xlen(world.key_of("outbox"))) if world.promotion_id else 0,
        lasting=_lasting(world),
        answers=world.answers,
        set_back=facts.set_back,
        by_hand=facts.by_hand,
        fences=facts.fences,
        errors=facts.errors,
    )


def forget(world: World) -> None:
    """Delete the history's keys from the store; one by one, for they are in different slots."""
    for key in [*_keys(world), *world.store.expiries]:
        world.lab.real.delete(key)


def _keys(world: World) -> list[str]:
    if not world.promotion_id:
        return []
    match = f"seckill:{{{world.promotion_id}}}:*"
    return sorted(world.lab.real.scan_iter(match=match, count=1000))


def _lasting(world: World) -> list[str]:
    ours = (*world.store.clocks, *world.store.expiries)
    names = [key for key in _keys(world) if key not in ours]
    return [key.rsplit("}:", 1)[1] for key in names if world.lab.real.ttl(key) < 0]


def _events(table: str) -> list[Row]:
    rows = tables.rows(_TABLE.format(table))
    events: list[Row] = [json.loads(row["event"]) for row in rows]
    return sorted(events, key=lambda event: int(event["version"]))


def _owned(customers: dict[str, str]) -> Iterator[tuple[CouponKey, str]]:
    for customer, coupons in customers.items():
        for coupon in coupons.split(";"):
            number, _, _, letter, *_ = coupon.split(" ")
            yield (customer, int(number)), _LETTERS.get(letter, letter)
