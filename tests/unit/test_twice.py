"""The client library may send a script twice: its first sending ran, and only the reply was lost.

Each script is sent twice in every state that a promotion can be in. The second sending changes
nothing and gets the same reply. A test fails for a new script until it is here as well.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from importlib import resources
from typing import Any, NamedTuple

import pytest
from redis import Redis

from chalicelib.commands import scripts
from chalicelib.commands.coupon import coupon_from
from chalicelib.commands.offer import Offer, store_fields
from chalicelib.commands.scripts import Reply
from chalicelib.shapes import Coupon

Clock = Callable[[str, int], None]
PARTS_OF_SCRIPTS = {"clock", "history", "throttle", "late", "coupon", "promotion"}
OFFER = Offer(3, Decimal("0.15"), 1000, 2000, 1, 600)
NEW_OFFER = Offer(8, Decimal("0.5"), 1800, 2000, 2, 60)
HOLD = "1500 G 601500 * * alice-key"

# What a script is sent, behind the promotion's id.
CALLS: dict[str, list[tuple[str | int, ...]]] = {
    "admit": [("alice", 60_000), ("zoe", 60_000)],
    "advance": [()],
    "begin_install": [("fence", 3600)],
    "cancel": [()],
    "discard": [()],
    "edit": [("key", *store_fields(NEW_OFFER, None)), ("key", *store_fields(OFFER, None))],
    "fence": [(0, "fence", ""), (10**9, "fence", ""), (0, "fence", "STATE_WRONG")],
    "give_back": [("alice", 1), ("alice", 2), ("zoe", 1)],
    "grab": [("alice", "alice-key", 0), ("alice", "other-key", 0), ("zoe", "zoe-key", 0)],
    "install": [("revision", 0, *store_fields(OFFER, None))],
    "note_audit": [(2, "CONFLICT STORE_WRONG", "key")],
    "pay": [("alice", 1, "visa-1"), ("alice", 1, "visa-2"), ("alice", 1, "*"), ("zoe", 1, "visa")],
    "rebuild": [("WANTED", "key"), ("DONE", "wanted"), ("DONE", "another")],
    "recover": [("fence", "key")],
    "restock": [(2, "key", 100), (2, "key", 1)],
    "restore_coupon": [
        ("alice", f"1 0 {HOLD}"),
        ("yan", "1 0 1500 P 601500 1500 visa-9"),
        ("yan", "9 0 1500 G 601500"),
        ("yan", "9 0 1500 G 1"),
        ("yan", "9 0 1500 D 601500 1500 visa-9"),
        ("yan", "9 0 1500 B 601500"),
    ],
    "resume": [("fence", 0, 0, 1), ("fence", 0, 0, 100), ("another", 0, 0, 100)],
    "retire": [(0,), (10**9,)],
    "watch": [()],
}
# How a first outcome is called when it is repeated; all others stay the same word.
AGAIN = {
    "GRANTED": "REPEATED",
    "PAID": "REPEATED",
    "RELEASED": "REPEATED",
    "RESTOCKED": "REPEATED",
    "INSTALLED": "EXISTS",
    "RESTORED": "KNOWN",
}
# Events that a call has decided on its way. They wait for the sweep; a repeat takes along what its
# own customer, or operator, was told of, behind the start, if that waits still.
ON_THE_WAY = {"PromotionStarted", "PromotionFinished", "CouponReleased"}


class Promotion(NamedTuple):
    """One that a test makes; `run` sends it a script."""

    id: str
    store: Redis
    set_clock: Clock

    def run(self, name: str, *args: str | int) -> Reply:
        more = [f"{part}:built" for part in scripts.PARTS]
        if name not in ("begin_install", "recover"):
            more = []
        return scripts.run(self.store, name, self.id, *args, more=more)

    def key(self, part: str) -> str:
        return scripts.key(self.id, part)

    def installed(self, now: int = 1500, **more: Any) -> "Promotion":
        self.set_clock(self.id, now)
        offer = replace(OFFER, **more)
        self.run("install", "revision", 0, *store_fields(offer, None))
        return self

    def held(self, **more: Any) -> "Promotion":
        self.installed(**more).run("grab", "alice", "alice-key", 0)
        return self

    def over(self) -> "Promotion":
        """Over, and everything is published."""
        self.held().run("give_back", "alice", 1)
        self.run("cancel")
        self.store.delete(self.key("outbox"))
        return self

    def set(self, name: str, value: str | int) -> "Promotion":
        self.store.hset(self.key("promotion"), name, value)
        return self

    def at(self, now: int) -> "Promotion":
        self.set_clock(self.id, now)
        return self

    def after(self, name: str, *args: str | int) -> "Promotion":
        self.run(name, *args)
        return self

    def everything(self) -> dict[int, Any]:
        """What the store has of it."""
        names = [self.key(part) for part in scripts.PARTS]
        promotion, customers, outbox, holds = names
        pipe = self.store.pipeline(transaction=False)
        for hash_of in (promotion, customers):
            pipe.hgetall(hash_of)
        pipe.xrange(outbox)
        pipe.zrange(holds, 0, -1, withscores=True)
        for name in names:
            pipe.exists(f"{name}:built")
        for name in names:
            pipe.ttl(name)
        answers = pipe.execute()
        expire = [lives_s > 0 for lives_s in answers[-len(names) :]]
        return dict(enumerate([*answers[: -len(names)], *expire]))


def renumbered(made: Promotion) -> Promotion:
    made.held().run("grab", "bob", "bob-key", 0)
    record = "1 2 1500 V 601500 * * * 2;2 3 1500 G 601500 * * alice-key"
    made.store.hset(made.key("customers"), mapping={"alice": record, "bob": "1 2 1500 G 601500"})
    made.store.delete(made.key("holds"))
    made.store.zadd(made.key("holds"), {"2 alice": 601500, "1 bob": 601500})
    return made


def fenced_with_holds(made: Promotion) -> Promotion:
    made.held().run("grab", "bob", "bob-key", 0)
    return made.after("fence", 10**9, "fence", "").at(1600)


def without_customers(made: Promotion) -> Promotion:
    made.held().store.delete(made.key("customers"))
    return made


STATES: dict[str, Callable[[Promotion], Promotion]] = {
    "not there": lambda made: made.at(1500),
    "scheduled": lambda made: made.installed(now=500),
    "scheduled and due": lambda made: made.installed(now=500).at(1500),
    "on sale": Promotion.installed,
    "on sale without holds": lambda made: made.installed(hold_seconds=0),
    "on sale for many each": lambda made: made.held(coupons_per_customer=3),
    "out of stock": lambda made: made.installed(number_of_coupons=1).after("grab", "bob", "b", 0),
    "with a hold": Promotion.held,
    "with a hold that is overdue": lambda made: made.held(finish_time=10**9).at(700_000),
    "with a released coupon": lambda made: (
        made.held(finish_time=10**9).at(700_000).after("advance")
    ),
    "with a coupon that was given back": lambda made: made.held().after("give_back", "alice", 1),
    "paid": lambda made: made.held().after("pay", "alice", 1, "visa-1"),
    "with a refund due": lambda made: (
        made.held().after("give_back", "alice", 1).after("pay", "alice", 1, "visa-1")
    ),
    "with a restock": lambda made: made.held().after("restock", 2, "key", 100),
    "past its end": lambda made: made.held().at(3000),
    "finished": lambda made: made.held().at(3000).after("advance"),
    "sold out": lambda made: made.held(number_of_coupons=1, hold_seconds=0).after(
        "grab", "alice", "alice-key", 0
    ),
    "cancelled": lambda made: made.held().after("cancel"),
    "retired": lambda made: made.over().after("retire", 0),
    "watched again": lambda made: made.over().after("retire", 0).after("watch"),
    "with a rebuild to do": lambda made: made.held().after("rebuild", "WANTED", "wanted"),
    "fenced": lambda made: made.held().after("fence", 10**9, "fence", ""),
    "fenced for a while": fenced_with_holds,
    "fenced and doubted": lambda made: made.held().after("fence", 0, "fence", "STATE_WRONG"),
    "fenced around nothing": lambda made: made.at(1500).after("fence", 0, "fence", ""),
    "of another history": lambda made: made.held().set("history", "of another server"),
    "without its customers": without_customers,
    "with a coupon of another number": renumbered,
}


def test_every_script_is_sent_twice_here() -> None:
    folder = resources.files("chalicelib.commands")
    there = {path.name[:-4] for path in folder.iterdir() if path.name.endswith(".lua")}
    assert there - PARTS_OF_SCRIPTS == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_the_second_sending_changes_nothing_and_gets_the_same_reply(
    store: Redis, set_clock: Clock, name: str
) -> None:
    for state, make in STATES.items():
        for args in CALLS[name]:
            made = make(Promotion(f"p-{secrets.token_hex(6)}", store, set_clock))
            where = f"{name}{args} of a promotion that is {state}"
            first = made.run(name, *args)
            while (
                name == "resume" and first.outcome == "EXTENDED"
            ):  # it goes on, as its caller does
                first = made.run(name, *args)
            if name == "cancel":  # its releases are the advance's, ten at a time
                made.run("advance")
            before = made.everything()
            second = made.run(name, *args)
            assert made.everything() == before, where
            assert second.outcome == AGAIN.get(first.outcome, first.outcome), where
            assert shown(second, made.id, args) == shown(first, made.id, args), where
            told = [event for event in first.events if event.type not in ON_THE_WAY]
            if told and first.events[0].type == "PromotionStarted":
                told.insert(0, first.events[0])
            assert [event for event in told if event not in second.events] == [], where
            if told and first.timer_at:
                assert second.timer_at == first.timer_at, where


def shown(reply: Reply, sale: str, args: tuple[str | int, ...]) -> Coupon | dict[str, Any] | None:
    """The coupon in a reply, or its details."""
    if "number" in reply.detail:
        return coupon_from(reply, sale, str(args[0]))
    return dict(reply.detail)
