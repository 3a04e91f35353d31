"""Rebuild a promotion's read tables from the journal, while the sale goes on."""

from collections.abc import Callable, Iterable

from chalicelib import journal
from chalicelib.events import AnyEvent, CouponEvent
from chalicelib.projections import active_promotions, coupons


def rebuild_coupons(events: Iterable[AnyEvent]) -> int:
    """Write each coupon's row anew from its newest event; returns how many rows that is."""
    newest: dict[tuple[str, str, int], CouponEvent] = {}
    for event in events:
        if isinstance(event, CouponEvent):
            coupon_key = event.customer_id, event.promotion_id, event.number
            known = newest.get(coupon_key)
            if known is None or known.version < event.version:
                newest[coupon_key] = event
    for coupon in newest.values():
        coupons.on_event(coupon, again=True)
    return len(newest)


def rebuild_active_promotions(events: Iterable[AnyEvent]) -> int:
    """Write the promotion's row anew from its starts, its ends and its newest counts."""
    told = list(events)
    needed = active_promotions.that_matter(told)
    for event in told:
        if (event.promotion_id, event.version) in needed:
            active_promotions.on_event(event, again=True)
    return min(len(told), 1)


PROJECTIONS: dict[str, Callable[[Iterable[AnyEvent]], int]] = {
    "coupons": rebuild_coupons,
    "active-promotions": rebuild_active_promotions,
}


def rebuild(promotion_id: str, names: Iterable[str] = tuple(PROJECTIONS)) -> dict[str, int]:
    """Fold a promotion's journal into the named read tables; returns the rows written by name.

    A row that reflects a newer event than the journal has stays as it is, so live events and a
    rebuild can't undo one another; a row of the same version is written anew.

    Raises:
        KeyError: there is no projection of that name.
        pynamodb.exceptions.PynamoDBException: a table is away; running it again is safe.
    """
    return {name: PROJECTIONS[name](journal.read(promotion_id)) for name in names}
