"""An offer: what the admin asks for when creating or editing a promotion."""

from dataclasses import dataclass
from decimal import Decimal

from chalicelib.config import settings
from chalicelib.items import find_item
from chalicelib.shapes import price_of


class UnknownItem(Exception):
    """The offer names an item that is not there."""


class NoAdmissionKeys(Exception):
    """The offer asks for tokens, and this stage has no keys to sign them with."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is sold, when, and to whom how often: see door/models.py for the ranges.

    Times in epoch ms. A hold of 0 seconds makes every grab final. admission: "open", or "token"
    where a grab needs one (see admit.py).
    """

    number_of_coupons: int
    discount: Decimal
    publish_time: int
    finish_time: int
    coupons_per_customer: int = 1
    hold_seconds: int = 0
    item_id: str | None = None
    admission: str = "open"


def check_admission(offer: Offer) -> None:
    """Make sure that this stage can admit customers as the offer says.

    Raises:
        NoAdmissionKeys: it can't.
    """
    if offer.admission == "token" and not settings().admission_keys:
        raise NoAdmissionKeys


def price_for(offer: Offer) -> Decimal | None:
    """What a unit costs, by the item's list price of this moment; None without an item.

    Raises:
        UnknownItem: there is no such item.
        pynamodb.exceptions.GetError: the items can't be read.
    """
    if offer.item_id is None:
        return None
    item = find_item(offer.item_id)
    if item is None:
        raise UnknownItem(offer.item_id)
    return price_of(item.list_price, offer.discount)


def store_fields(offer: Offer, price: Decimal | None) -> list[str | int]:
    """The offer as the flat list of fields that the scripts take."""
    fields: dict[str, str | int] = {
        "opens_at": offer.publish_time,
        "closes_at": offer.finish_time,
        "stock": offer.number_of_coupons,
        "available": offer.number_of_coupons,
        "discount": str(offer.discount),
        "coupons_per_customer": offer.coupons_per_customer,
        "hold_ms": offer.hold_seconds * 1000,
    }
    if offer.admission != "open":
        fields["admission"] = offer.admission
    if offer.item_id is not None and price is not None:
        fields |= {"item_id": offer.item_id, "price": str(price)}
    return [part for item in fields.items() for part in item]
