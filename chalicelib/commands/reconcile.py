"""Reconciliation: do store, outbox, journal and read tables tell the same? If not, why?

Every comparison is made so that a healthy live sale shows no difference, however often it is
looked at: what is compared with the store is the journal up to the very version the store was
read at, and what is still on its way (younger than the grace time) is not missed yet.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from redis import Redis

from chalicelib import journal
from chalicelib.commands import fold, outbox, scripts, stragglers
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.promotions import find_promotion, look_after_again
from chalicelib.commands.recover import Repair, finish_recovery, recover_promotion
from chalicelib.events import GENERATION, AnyEvent, CouponEvent, Event

GRACE_MS = 60_000
_PIECE = 500

Kind = Literal[
    "STATE_LOST", "WRITES_LOST", "CONFLICT", "OUTBOX_STUCK", "EVENT_MISSING",
    "STORE_WRONG", "TABLE_BEHIND", "TABLE_WRONG", "TABLE_PHANTOM",
]  # fmt: skip

_CAUSES: dict[str, str] = {
    "STATE_LOST": "the store was wiped, or evicted the promotion",
    "WRITES_LOST": "a fail-over forgot the last writes",
    "CONFLICT": "a fail-over forgot the last writes, and the store sold on",
    "OUTBOX_STUCK": "the broker is away, or the sweep does not run",
    "EVENT_MISSING": "a message is in a dead-letter queue, or its consumer does not run",
    "STORE_WRONG": "somebody has written to the store by hand",
    "TABLE_BEHIND": "a message is in a dead-letter queue, or its consumer does not run",
    "TABLE_WRONG": "somebody has written to the table by hand",
    "TABLE_PHANTOM": "somebody has written to the table by hand",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is told in two ways: where, what, and the likely cause."""

    kind: Kind
    detail: str
    likely_cause: str


@dataclass(frozen=True, slots=True)
class Tables:
    """The read tables' rows of one promotion: version and state by (customer, number), counts."""

    coupons: Mapping[tuple[str, int], tuple[int, Mapping[str, Any]]]
    counts: tuple[int, Mapping[str, int]] | None


ReadTables = Callable[[str], Tables]


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look at everything, in the order that makes it comparable."""

    now: int
    grace_ms: int
    newest_before: int
    state: Mapping[str, str]
    customers: Mapping[str, str]
    waiting: list[AnyEvent]
    told: list[AnyEvent]
    tables: Tables

    def is_old(self, event: AnyEvent) -> bool:
        """True when nothing about this event may be under way any more."""
        return event.at <= self.now - self.grace_ms


def audit(
    promotion_id: str, outside: Outside, read_tables: ReadTables, grace_ms: int = GRACE_MS
) -> list[Difference] | None:
    """Every difference of one promotion; None if nobody created it.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException: a part can't be read.
    """
    row = find_promotion(promotion_id)
    if row is None:
        return None
    seen = _look(promotion_id, outside.store, read_tables, grace_ms)
    found = [] if row.live is None else list(_store_differences(promotion_id, seen))
    return [*found, *_wrong_coupons(seen), *_wrong_counts(seen)]


def reconcile(
    promotion_id: str, outside: Outside, repair: Repair, read_tables: ReadTables
) -> list[Difference] | None:
    """Audit, and mend what can be mended; an event `PromotionAudited` says what was found.

    Recovery mends the store, publishing the outbox, a rebuild the tables. An event that is
    missing in the journal is in a dead-letter queue, and is sent on from there.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException: a part is away.
    """
    found = audit(promotion_id, outside, read_tables)
    if not found:
        return found
    kinds = {difference.kind for difference in found}
    key = secrets.token_urlsafe(9)
    look_after_again(promotion_id)  # should this process die, the sweep goes on
    if kinds & {"TABLE_BEHIND", "TABLE_WRONG"}:
        scripts.run(outside.store, "rebuild", promotion_id, "WANTED", key)
    if kinds & {"STATE_LOST", "WRITES_LOST", "CONFLICT", "STORE_WRONG"}:
        # Events that came late explain a store without them; they count without a fence.
        doubted = "STORE_WRONG" in kinds and not _has_stragglers(promotion_id)
        recover_promotion(promotion_id, outside, repair, doubted=doubted)
    if "OUTBOX_STUCK" in kinds:
        outbox.publish_waiting(promotion_id, outside.store, outside.publisher)
    finish_recovery(promotion_id, outside, repair)
    decide(outside, "note_audit", promotion_id, len(found), " ".join(sorted(kinds)), key)
    return found


def _has_stragglers(promotion_id: str) -> bool:
    return stragglers.found(promotion_id, journal.read_late(promotion_id))


def to_json(found: list[Difference]) -> list[dict[str, str]]:
    """Differences as JSON types."""
    return [
        {"kind": d["kind"], "detail": d["detail"], "likelyCause": d["likely_cause"]}
        for d in map(asdict, found)
    ]


def _look(promotion_id: str, store: Redis, read_tables: ReadTables, grace_ms: int) -> _Seen:
    """The journal's newest version before the store, the journal itself after; the tables last.

    What is long is read in pieces, after the promotion itself: each piece says by its versions what
    has been decided since.
    """
    newest = journal.newest_version(promotion_id)
    promotion, customers, *_ = (scripts.key(promotion_id, part) for part in scripts.PARTS)
    now = scripts.clock_ms(promotion_id, store)
    state: Any = store.hgetall(promotion)
    held = dict(store.hscan_iter(customers, count=_PIECE))
    return _Seen(
        now=now,
        grace_ms=grace_ms,
        newest_before=newest,
        state=state,
        customers=held,
        waiting=_waiting(promotion_id, store),
        told=list(journal.read(promotion_id)),
        tables=read_tables(promotion_id),
    )


def _waiting(promotion_id: str, store: Redis) -> list[AnyEvent]:
    found: list[AnyEvent] = []
    while piece := outbox.waiting(
        promotion_id, store, _PIECE, behind=found[-1].version if found else 0
    ):
        found += piece
    return found


def _difference(kind: Kind, detail: str) -> Difference:
    return Difference(kind, detail, _CAUSES[kind])


def _store_differences(promotion_id: str, seen: _Seen) -> Iterator[Difference]:
    conflicts = journal.conflicts(promotion_id)
    if conflicts:
        yield _difference("CONFLICT", f"{len(conflicts)} events under versions already taken")
    stuck = [event for event in seen.waiting if seen.is_old(event)]
    if stuck:
        yield _difference(
            "OUTBOX_STUCK", f"{len(stuck)} events, the first version {stuck[0].version}"
        )
    if "state" not in seen.state:
        yield _difference("STATE_LOST", "the promotion is live and the store has no state of it")
        return
    version = int(seen.state["version"])
    if seen.newest_before > version:
        detail = f"the store is at version {version}, the journal at {seen.newest_before}"
        yield _difference("WRITES_LOST", detail)
        return
    yield from _missing_events(version, seen)
    yield from _wrong_store(version, seen)


def _missing_events(version: int, seen: _Seen) -> Iterator[Difference]:
    have = {event.version for event in seen.told} | {event.version for event in seen.waiting}
    base = version // GENERATION * GENERATION
    older = [event.version for event in seen.told if event.version > base and seen.is_old(event)]
    missing = [number for number in range(base + 1, max(older, default=base)) if number not in have]
    if missing:
        yield _difference("EVENT_MISSING", f"{len(missing)} events, the first version {missing[0]}")


def _wrong_store(version: int, seen: _Seen) -> Iterator[Difference]:
    """Compare the store with a fold of the journal up to its version, once that is complete."""
    told = {event.version: event for event in [*seen.told, *seen.waiting]}
    base = version // GENERATION * GENERATION
    if any(number not in told for number in range(base + 1, version + 1)):
        return
    folded = fold.fold(event for number, event in sorted(told.items()) if number <= version)
    if folded.base is None:
        return
    free = folded.stock - folded.held - folded.sold
    expected = {"stock": folded.stock, "available": free, "sold": folded.sold}
    for name, value in expected.items():
        if int(seen.state[name]) != value:
            yield _difference("STORE_WRONG", f"{name} is {seen.state[name]} and should be {value}")
    wrong = list(_wrong_customers(version, folded, seen.customers))
    if wrong:
        detail = f"{len(wrong)} customers hold other coupons than their events say"
        yield _difference("STORE_WRONG", detail)


def _wrong_customers(
    version: int, folded: fold.Folded, customers: Mapping[str, str]
) -> Iterator[str]:
    """Whose coupons differ, apart from what was decided after `version`, when they were read."""
    expected = fold.customers(folded)
    for customer in expected.keys() | customers.keys():
        wanted = set(expected.get(customer, "").split(";")) - {""}
        there = set(customers.get(customer, "").split(";")) - {""}
        newer = {text.split()[0] for text in there if int(text.split()[1]) > version}
        if {text for text in wanted ^ there if text.split()[0] not in newer}:
            yield customer


def _wrong_coupons(seen: _Seen) -> Iterator[Difference]:
    newest = {(e.customer_id, e.number): e for e in seen.told if isinstance(e, CouponEvent)}
    for place, event in newest.items():
        version, shown = seen.tables.coupons.get(place, (0, {}))
        name = f"coupon {event.number} of {event.customer_id}"
        if version < event.version and seen.is_old(event):
            yield _difference("TABLE_BEHIND", f"{name} is at {version}, not {event.version}")
        elif version == event.version and shown != _as_shown(event):
            yield _difference("TABLE_WRONG", name)
    for place in seen.tables.coupons.keys() - newest.keys():
        if seen.tables.coupons[place][1]["grabbed_at"] <= seen.now - seen.grace_ms:
            yield _difference("TABLE_PHANTOM", f"coupon {place[1]} of {place[0]} has no event")


def _wrong_counts(seen: _Seen) -> Iterator[Difference]:
    version, counts = seen.tables.counts or (0, {})
    told = [event for event in seen.told if isinstance(event, Event)]
    newest = max((event.version for event in told if seen.is_old(event)), default=0)
    if version < newest:
        yield _difference("TABLE_BEHIND", f"counts are at {version}, not {newest}")
    for event in told:
        if event.version == version and counts != {n: getattr(event, n) for n in counts}:
            yield _difference("TABLE_WRONG", f"counts are {dict(counts)}")


def _as_shown(event: CouponEvent) -> dict[str, Any]:
    return {
        "state": event.state,
        "grabbed_at": event.grabbed_at,
        "deadline": event.deadline,
        "paid_at": event.paid_at,
        "payment_reference": event.payment_reference,
        "price": event.price,
    }
