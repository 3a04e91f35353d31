"""What is on sale now, and how much is left."""

from collections.abc import Iterable

from chalicelib.items import find_item, find_items
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.shapes import Promotion


def active_promotions() -> list[Promotion]:
    """All promotions on sale, those that end first at the front."""
    rows = list(ActivePromotionRow.by_state.query("ON_SALE"))
    items = find_items({row.item_id for row in rows if row.item_id})
    return [row.to_promotion(items.get(row.item_id or "")) for row in rows]


def active_promotion(promotion_id: str) -> Promotion | None:
    """One promotion on sale; None if it has not started, is over, or never was."""
    try:
        row = ActivePromotionRow.get(promotion_id, consistent_read=True)
    except ActivePromotionRow.DoesNotExist:
        return None
    if row.state != "ON_SALE":
        return None
    return row.to_promotion(find_item(row.item_id) if row.item_id else None)


def projected_rows(promotion_ids: Iterable[str]) -> dict[str, ActivePromotionRow]:
    """What the read table has of each promotion, for comparing it with the store."""
    rows = ActivePromotionRow.batch_get(list(promotion_ids), consistent_read=True)
    return {row.promotion_id: row for row in rows}
