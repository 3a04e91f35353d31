"""What an operator is answered: a promotion by table, store and read table, side by side."""

from collections.abc import Sequence

from chalicelib import clients
from chalicelib.commands.create_promotion import Creation
from chalicelib.commands.missing import verdict_on
from chalicelib.commands.promotions import PromotionRow, find_promotion
from chalicelib.commands.reconcile import Difference, to_json
from chalicelib.commands.standing import Standing, standings
from chalicelib.door import answers
from chalicelib.door.answers import Answer
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.queries.promotions import projected_rows
from chalicelib.shapes import Promotion


def created(creation: Creation) -> Answer:
    """201 with the promotion; 202 where the store was lost just now, and has it by the sweep.

    200 with what a request of the same key has made.
    """
    if creation.outcome == "IDEMPOTENCY_KEY_REUSED":
        return answers.problem(creation.outcome)
    if creation.outcome == "REPEATED":
        return answers.ok(shown([creation.row])[0].to_json())
    if creation.state is None:
        return answers.ok(_side_by_side(creation.row, None, None).to_json(), 202)
    return answers.ok(shown([creation.row])[0].to_json(), 201)


def shown(rows: Sequence[PromotionRow]) -> list[Promotion]:
    """Promotions as the operator sees them: table, store and read table side by side."""
    ids = [row.promotion_id for row in rows]
    projected = projected_rows(ids)
    return [
        _side_by_side(row, standing, projected.get(row.promotion_id))
        for row, standing in zip(rows, standings(ids, clients.store()), strict=True)
    ]


def changed(promotion_id: str, outcome: str, *, cancelled: bool = False) -> Answer:
    """The promotion after a change; a refusal by its word, and by the table if unknown."""
    if outcome == "UNKNOWN":
        outcome = verdict_on(promotion_id)
    if outcome in ("EDITED", "RESTOCKED", "REPEATED") or (cancelled and outcome == "CANCELLED"):
        return show_row(promotion_id)
    return answers.problem("ALREADY_STARTED" if outcome == "ON_SALE" else outcome)


def show_row(promotion_id: str) -> Answer:
    """One promotion by its id."""
    row = find_promotion(promotion_id)
    return answers.ok(shown([row])[0].to_json()) if row else answers.problem("UNKNOWN_PROMOTION")


def audited(found: list[Difference] | None) -> Answer:
    """The differences, none of them if all is well."""
    if found is None:
        return answers.problem("UNKNOWN_PROMOTION")
    return answers.ok(to_json(found))


def _side_by_side(
    row: PromotionRow, standing: Standing | None, projected: ActivePromotionRow | None
) -> Promotion:
    """One promotion as the operator sees it: the table's offer, the store's counts.

    Where the store has forgotten it, which it does a week after the end, the read table has the
    counts. `drift` is how many events the read table is behind the store.
    """
    offer = row.offer()
    seen = int(projected.version) if projected and projected.version is not None else 0
    if standing is None:
        known = projected if projected and projected.stock is not None else None
        stock = int(known.stock) if known else offer.number_of_coupons
        available = int(known.available) if known else stock
        sold = int(known.sold) if known else 0
        state = {None: "SCHEDULED", "CANCELLED": "CANCELLED"}.get(row.closed_as, "FINISHED")
        standing = Standing(state, stock, available, sold, seen)
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
        drift=standing.version - seen,
        admission=offer.admission,
    )
