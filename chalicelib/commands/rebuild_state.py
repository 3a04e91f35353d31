"""Rebuild a fenced promotion's state from the journal, and put it in place in one step.

The decisions of a recovery are written to the journal before anything of them is in the store, the
`PromotionRecovered` event last. So whatever is installed is on record. A recovery that was
interrupted goes on in the generation that it had begun; and what one has decided behind a fence,
any other behind the same fence installs as it is.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any, cast

from redis import Redis

from chalicelib import journal, telemetry
from chalicelib.commands import fold, scripts
from chalicelib.commands.amends import SLACK_MS, make_amends
from chalicelib.commands.fold import Folded
from chalicelib.commands.promotions import PromotionRow
from chalicelib.events import GENERATION, AnyEvent, CouponEvent, Event, PromotionRecovered

_CHUNK = 500
# What a recovery that was interrupted has built goes away by itself.
_BUILT_LIVES_S = 3600
# Beyond this many ranges the rest counts as not known: it is folded in once more, no more.
_MOST_RANGES = 5000


def rebuild(
    row: PromotionRow, events: Sequence[AnyEvent], newest: int, fence: Any, store: Redis
) -> tuple[str, str]:
    """Decide, journal, install; returns (outcome, reason).

    `events` is the promotion's journal. `newest` is its newest version before it was read, also
    where that event can't be read.

    The outcome is RECOVERED, or SUPERSEDED: another recovery has taken the fence down, or is
    writing its decisions just now.

    Raises:
        redis.RedisError, pynamodb.exceptions.PynamoDBException: calling again goes on.
    """
    promotion_id, token = row.promotion_id, fence["token"]
    had_state = store.hexists(scripts.key(promotion_id, "promotion"), "state")
    reason = fence.get("doubt") or ("WRITES_LOST" if had_state else "STATE_LOST")
    conflicts = journal.conflicts(promotion_id)
    late = fold.late(events)
    late_versions = {event.version for event in late}
    folded = fold.fold(event for event in events if event.version not in late_versions)
    folded.newest = max(newest, *(event.version for event in events), 0)
    if _is_decided(folded, fence) and not conflicts:
        return _install(promotion_id, token, folded, _newest_generation(events), store), reason
    changed = fold.fold_in(folded, [*late, *journal.parsed(conflicts)])
    offer = _settle_offer(row, folded)
    goes_on = _goes_on(events, folded)
    coupons = make_amends(folded, changed, fence["unserved"], fence["now"])
    version = folded.newest if goes_on else (folded.newest // GENERATION + 1) * GENERATION
    decided = _decided(row, events, folded, coupons, version, fence, reason, offer)
    if not journal.put_all(decided):
        return "SUPERSEDED", reason
    journal.settle(conflicts)
    publish = _newest_generation([*events, *decided])
    return _install(promotion_id, token, folded, publish, store), reason


def _is_decided(folded: Folded, fence: Any) -> bool:
    """Whether a recovery behind this fence has decided, and all that is left is to install it.

    If that was a while ago, time has to be given back to those whose holds are open.
    """
    base = folded.base
    return (
        isinstance(base, PromotionRecovered)
        and base.version == folded.newest
        and base.fence == fence["token"]
        and (folded.held == 0 or fence["now"] - base.at < SLACK_MS)
    )


def _newest_generation(events: Sequence[AnyEvent]) -> list[AnyEvent]:
    """What the recovered outbox has besides what waits behind the fence."""
    generation = events[-1].version // GENERATION
    return [event for event in events if event.version // GENERATION == generation]


def _settle_offer(row: PromotionRow, folded: Folded) -> dict[str, Any]:
    """The promotion's offer as fields of `PromotionRecovered`; settles its stock and its end, too.

    A promotion's row is a witness as well: operators were answered with it. Whichever of row and
    journal is newer by the revision has the stock, and a restock that it is without is added.
    """
    base = folded.base
    base_revision = -1 if base is None else base.revision or 0
    revision = int(row.revision)
    if revision > base_revision:
        in_row = fold.restocks_in_text(row.restocks or "")
        added = sum(n for key, n in folded.restocks.items() if key not in in_row)
        if row.restocks is None and revision > 0:  # a row of before does not say which it has
            folded.stock = max(int(row.number_of_coupons), folded.stock)
        else:
            folded.stock = int(row.number_of_coupons) + added
        folded.restocks = in_row | folded.restocks
    if base is None or (revision > base_revision and not folded.started):
        offer = row.offer()
        price, admission = row.exact_price(), None if offer.admission == "open" else offer.admission
        fields: dict[str, Any] = {
            "discount": offer.discount,
            "opens_at": offer.publish_time,
            "closes_at": offer.finish_time,
            "coupons_per_customer": offer.coupons_per_customer,
            "hold_seconds": offer.hold_seconds,
            "price": price,
            "item_id": offer.item_id if price is not None else None,
            "admission": admission,
        }
    else:
        names = (
            "discount", "opens_at", "closes_at", "coupons_per_customer", "hold_seconds", "price",
            "item_id", "admission",
        )  # fmt: skip
        fields = {name: getattr(base, name) for name in names}
    if row.closed_as is not None and (
        folded.closed_as is None or row.closed_as == "CANCELLED"
    ):  # its end was answered, and a cancellation stands above any other
        folded.closed_as = row.closed_as
    if folded.closed_as == "SOLD_OUT" and 0 < folded.closed_stock < folded.stock:
        folded.closed_as = None  # a restock that counts after all has more to sell
    return fields | {"revision": max(revision, base_revision, folded.revision) + 1}


def _goes_on(events: Sequence[AnyEvent], folded: Folded) -> bool:
    """Whether the newest generation is of a recovery that did not come to its end."""
    generation = folded.newest // GENERATION
    return generation > 0 and not any(
        isinstance(e, PromotionRecovered) and e.version // GENERATION == generation for e in events
    )


def _decided(  # noqa: PLR0913, PLR0917 - what the events are made of
    row: PromotionRow,
    events: Sequence[AnyEvent],
    folded: Folded,
    coupons: Sequence[CouponEvent],
    version: int,
    fence: Any,
    reason: str,
    offer: dict[str, Any],
) -> list[Event]:
    """The recovery's events behind `version`; `folded` has them, too."""
    held, sold = folded.held, folded.sold
    counts: dict[str, Any] = {
        "at": fence["now"],
        "stock": folded.stock,
        "available": folded.stock - held - sold,
        "held": held,
        "sold": sold,
    }
    decided: list[Event] = []
    for coupon in coupons:
        version += 1
        event = replace(coupon, version=version, **counts)
        folded.coupons[event.customer_id, event.number] = event  # of two, the later counts
        decided.append(event)
    known = [*(event.version for event in events), *(event.version for event in decided)]
    lost = fold.missing_versions(events)
    if lost:
        telemetry.count("events_lost", lost, promotion=row.promotion_id)
    ranges = fold.ranges_of(known).split(",")
    recovered = PromotionRecovered(
        promotion_id=row.promotion_id,
        version=version + 1,
        reason=reason,
        lost=lost,
        state=folded.state,
        closed_as=folded.closed_as,
        closed_at=folded.closed_at if folded.closed_as else None,
        granted=folded.granted,
        restocks=fold.restocks_as_text(folded.restocks) or None,
        known=",".join(ranges[:_MOST_RANGES]) or "0",  # none: no version is 0
        fence=fence["token"],
        **counts,
        **offer,
    )
    folded.base, folded.newest = recovered, recovered.version
    return [*decided, recovered]


def _install(
    promotion_id: str, token: str, folded: Folded, publish: Sequence[AnyEvent], store: Redis
) -> str:
    """Build the state under keys of its own, in pieces, then put it in place in one step."""
    keys = [scripts.key(promotion_id, part) for part in scripts.PARTS]
    mine = secrets.token_hex(8)
    promotion, customers, _, holds = built = [f"{key}:{mine}" for key in keys]
    begin = scripts.script(store, "begin_install")
    for batch in _chunks({f"{event.version}-0": event.to_wire() for event in publish}):
        texts = [text for entry in batch.items() for text in entry]
        begun: str = begin(
            keys=[*keys, *built], args=[promotion_id, token, _BUILT_LIVES_S, *texts]
        )[0]
        if begun != "BEGUN":
            return begun
    with _piece(store, promotion) as piece:
        piece.hset(promotion, mapping=_promotion_fields(folded))
    for chunk in _chunks(fold.customers(folded)):
        with _piece(store, customers) as piece:
            piece.hset(customers, mapping=chunk)
    for chunk in _chunks(fold.holds(folded)):
        with _piece(store, holds) as piece:
            piece.zadd(holds, chunk)
    # What is built must not expire once it is in place: recover.lua makes it last.
    script = scripts.script(store, "recover")
    outcome: str = script(keys=[*keys, *built], args=[promotion_id, token, mine])[0]
    return outcome


@contextmanager
def _piece(store: Redis, key: str) -> Iterator[Any]:
    """Commands on `key` in one step, after which it lives for an hour and no longer."""
    pipe: Any = store.pipeline(transaction=True)
    yield pipe
    pipe.expire(key, _BUILT_LIVES_S)
    pipe.execute()


def _promotion_fields(folded: Folded) -> dict[str, str | int]:
    base = cast("PromotionRecovered", folded.base)  # see _decided
    named: dict[str, str | int | None] = {
        "opens_at": base.opens_at,
        "closes_at": base.closes_at,
        "stock": base.stock,
        "available": base.available,
        "discount": str(base.discount),
        "coupons_per_customer": base.coupons_per_customer,
        "hold_ms": (base.hold_seconds or 0) * 1000,
        "admission": base.admission,
        "item_id": base.item_id,
        "price": None if base.price is None else str(base.price),
        "state": folded.state,
        "version": base.version,
        "sold": base.sold,
        "granted": base.granted,
        "revision": base.revision,
        "closed_as": folded.closed_as,
    }
    if folded.closed_as is not None:
        named |= {"closed_at": folded.closed_at, "closed_version": folded.closed_version}
    for key, added in folded.restocks.items():
        named[f"restock:{key}"] = f"{added} {base.version}"
    return {name: value for name, value in named.items() if value is not None}


def _chunks(items: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pairs = iter(items.items())
    while chunk := dict(islice(pairs, _CHUNK)):
        yield chunk
