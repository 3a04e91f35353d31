"""What is on sale now, and how much is left."""

from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.shapes import Promotion


def active_promotions() -> list[Promotion]:
    """All promotions on sale, those that end first at the front."""
    return [row.to_promotion() for row in ActivePromotionRow.by_state.query("ON_SALE")]


def active_promotion(promotion_id: str) -> Promotion | None:
    """One promotion on sale; None if it has not started, is over, or never was."""
    try:
        row = ActivePromotionRow.get(promotion_id, consistent_read=True)
    except ActivePromotionRow.DoesNotExist:
        return None
    return row.to_promotion() if row.state == "ON_SALE" and row.discount else None
