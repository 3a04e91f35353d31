"""What is on sale now, and how much is left."""

from collections.abc import Iterable

from chalicelib.items import find_items
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.shapes import Promotion
from chalicelib.tables import readable, rows_by_key


def active_promotions() -> list[Promotion]:
    """All promotions on sale that can be read, those that end first at the front."""
    found = ActivePromotionRow.by_state.query("ON_SALE")
    rows = list(readable(found, lambda row: row))
    items = find_items({row.item_id for row in rows if row.item_id})
    return list(readable(rows, lambda row: row.to_promotion(items.get(row.item_id or ""))))


def active_promotion(promotion_id: str) -> Promotion | None:
    """One promotion on sale; None if it has not started, is over, or never was.

    An item that can't be read is left out, as in the list.

    Raises:
        UnreadableRow: it is there and can't be read.
    """
    try:
        row = ActivePromotionRow.get(promotion_id, consistent_read=True)
    except ActivePromotionRow.DoesNotExist:
        return None
    if row.state != "ON_SALE":
        return None
    items = find_items({row.item_id}) if row.item_id else {}
    return row.to_promotion(items.get(row.item_id or ""))


def projected_rows(promotion_ids: Iterable[str]) -> dict[str, ActivePromotionRow]:
    """What the read table has of each promotion, for comparing it with the store.

    Rows that can't be read are left out.
    """
    found = rows_by_key(ActivePromotionRow, promotion_ids)
    return dict(readable(found, lambda row: (row.counts(), (row.promotion_id, row))[1]))
