"""What a history leaves behind, as plain values: all that the judge sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
# Whose, and which number: after a lost write the same number may have been told to two customers.
CouponKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """A request and what was answered.

    what: "grab", "pay", "give back", "restock", "edit", "cancel", "create". outcome: the program's
    word, empty where the caller had no answer (or 503, come again). began, ended: epoch ms on the
    store's clock; first, last: the first and the last step during which it ran. met: the call at
    which its process met a fault. coupon: as the answer shows it. asked: what else was asked for.
    """

    what: str
    outcome: str
    began: int
    ended: int
    first: int
    last: int
    who: str = ""
    number: int = 0
    coupon: Row | None = None
    met: str = ""
    asked: Row = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The end of a history.

    journal, conflicts: events. open_conflicts: how many no recovery has settled. coupons, active,
    promotion: rows of the read tables and of the promotions table. store: the promotion's hash,
    empty where the store has none; owned: the customers' coupons as the store has them, by key.
    waiting: events in the outbox. lasting: the promotion's keys without a time to live. answers:
    in order. set_back: the store has forgotten something. by_hand: its keys were restored without
    a sign of it. fences: from when to when the promotion was fenced (epoch ms). errors: exceptions
    that no command should raise.
    """

    journal: list[Row] = field(default_factory=list)
    conflicts: list[Row] = field(default_factory=list)
    open_conflicts: int = 0
    coupons: Sequence[Row] = field(default_factory=list)
    active: Row | None = None
    promotion: Row | None = None
    store: Row = field(default_factory=dict)
    owned: Mapping[CouponKey, str] = field(default_factory=dict)
    waiting: int = 0
    lasting: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    set_back: bool = False
    by_hand: bool = False
    fences: list[tuple[int, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
