"""What an operator is answered: a promotion by table, store and read table, side by side."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pynamodb.exceptions import PynamoDBException

from chalicelib import clients, telemetry
from chalicelib.clients import AWS_ERRORS, STORE_ERRORS
from chalicelib.commands.create_promotion import Creation
from chalicelib.commands.decision import NotOnRecord
from chalicelib.commands.promotions import PromotionRow, find_promotion
from chalicelib.commands.reconcile import Difference, to_json
from chalicelib.commands.standing import Standing, standings
from chalicelib.door import answers
from chalicelib.door.answers import Answer
from chalicelib.door.served import served
from chalicelib.events import GENERATION
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.queries.promotions import projected_rows
from chalicelib.shapes import Promotion
from chalicelib.tables import readable

# What one promotion may fail with: a part that is away, and rows or events that can't be read.
_FAILURES = (
    *STORE_ERRORS,
    *AWS_ERRORS,
    PynamoDBException,
    NotOnRecord,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
)
# The functions for all promotions have 900 seconds; the last promotion may need some of them.
EVERY_ONE_S = 600.0
_Seen = tuple[PromotionRow, Standing | None, ActivePromotionRow | None]


def created(creation: Creation) -> Answer:
    """201 with the promotion; 202 where the store was lost just now, and has it by the sweep.

    200 with what a request of the same key has made.
    """
    if creation.outcome == "IDEMPOTENCY_KEY_REUSED":
        return answers.problem(creation.outcome)
    if creation.outcome == "REPEATED":
        return answers.ok(_shown_one(creation.row).to_json())
    if creation.state is None:
        return answers.ok(_side_by_side((creation.row, None, None)).to_json(), 202)
    return answers.ok(_shown_one(creation.row).to_json(), 201)


def shown(rows: Sequence[PromotionRow]) -> list[Promotion]:
    """Promotions as the operator sees them; one that can't be read is counted and left out."""
    return list(readable(_seen(rows), _side_by_side))


def _shown_one(row: PromotionRow) -> Promotion:
    [seen] = _seen([row])
    return _side_by_side(seen)


def _seen(rows: Sequence[PromotionRow]) -> Iterator[_Seen]:
    """Table, store and read table of each promotion."""
    ids = [row.promotion_id for row in rows]
    projected = projected_rows(ids)
    for row, standing in zip(rows, standings(ids, clients.store()), strict=True):
        yield row, standing, projected.get(row.promotion_id)


def changed(promotion_id: str, change: Callable[[], str], *, cancelled: bool = False) -> Answer:
    """The promotion after a change; a refusal by its word, and by the table if unknown."""
    outcome = served(promotion_id, change, str)
    if outcome in ("EDITED", "RESTOCKED", "REPEATED") or (cancelled and outcome == "CANCELLED"):
        return show_row(promotion_id)
    return answers.problem("ALREADY_STARTED" if outcome == "ON_SALE" else outcome)


def show_row(promotion_id: str) -> Answer:
    """One promotion by its id."""
    row = find_promotion(promotion_id)
    return answers.ok(_shown_one(row).to_json()) if row else answers.problem("UNKNOWN_PROMOTION")


def audited(found: list[Difference] | None) -> Answer:
    """The differences, none of them if all is well."""
    if found is None:
        return answers.problem("UNKNOWN_PROMOTION")
    return answers.ok(to_json(found))


def each_promotion(
    event: Mapping[str, Any], every: Callable[[], Iterable[str]], do: Callable[[str], Any]
) -> dict[str, Any]:
    """What `do` returns for the promotion that the event names, or for every one, by promotion.

    Of every one, a promotion that fails does not stop the others: its entry states the error, and
    it is counted. One that is named fails by the exception itself. The function has a time limit.
    So the result may end with an entry "unfinished", which is the event of the next call.
    """
    named = event.get("promotionId")
    if named is not None:
        return {named: do(named)}
    done: dict[str, Any] = {}
    until = time.monotonic() + EVERY_ONE_S
    after = event.get("after", "")
    for promotion_id in sorted(name for name in every() if name > after):
        if time.monotonic() > until:
            done["unfinished"] = {**event, "after": after}
            return done
        after = promotion_id
        try:
            done[promotion_id] = do(promotion_id)
        except _FAILURES as error:
            reason = f"{type(error).__name__}: {error}"
            telemetry.count("promotion_failed", promotion=promotion_id, reason=reason)
            done[promotion_id] = {"error": reason}
    return done


def _side_by_side(seen: _Seen) -> Promotion:
    """One promotion as the operator sees it: the table's offer, the store's counts.

    Where the store has forgotten it, which it does a week after the end, the read table has the
    counts. `drift` is how many events the read table is behind the store.
    """
    row, standing, projected = seen
    offer = row.offer()
    version, counts = (projected.counts() if projected else None) or (0, {})
    if standing is None:
        stock = counts.get("stock", offer.number_of_coupons)
        available, sold = counts.get("available", stock), counts.get("sold", 0)
        standing = Standing(_state_of(row, projected), stock, available, sold, version)
    return Promotion(
        promotion_id=row.promotion_id,
        number_of_coupons=standing.stock,
        discount=offer.discount,
        publish_time=offer.publish_time,
        finish_time=offer.finish_time,
        coupons_per_customer=offer.coupons_per_customer,
        hold_seconds=offer.hold_seconds,
        state=standing.state,
        available=standing.available,
        item_id=offer.item_id,
        price=row.exact_price(),
        held=standing.stock - standing.available - standing.sold,
        sold=standing.sold,
        version=standing.version,
        drift=_events_between(version, standing.version),
        admission=offer.admission,
    )


def _state_of(row: PromotionRow, projected: ActivePromotionRow | None) -> str:
    """The state of a promotion that the store does not know: how it ended, or the read table's.

    RECOVERING: it is not over and no table has its state, so the store should have it.
    """
    if row.closed_as is not None or row.live is None:
        return "CANCELLED" if row.closed_as == "CANCELLED" else "FINISHED"
    return (projected.state if projected else None) or "RECOVERING"


def _events_between(older: int, newer: int) -> int:
    """How many events a version is ahead of another; negative where it is behind.

    Versions of different generations count from where the newer generation begins: nobody knows
    how many events an earlier one had.
    """
    if newer < older:
        return -_events_between(newer, older)
    return newer - max(older, newer // GENERATION * GENERATION)
