"""Create or edit an item."""

import secrets
from dataclasses import dataclass
from decimal import Decimal

from pynamodb.exceptions import PutError

from chalicelib.items import ItemRow
from chalicelib.shapes import Item
from chalicelib.tables import refused_by_condition


@dataclass(frozen=True, slots=True)
class WriteItem:
    """What the item is; `list_price` in the shop's currency, at most two decimal places."""

    name: str
    list_price: Decimal
    picture: str | None = None


def create_item(command: WriteItem) -> Item:
    """Store a new item.

    Raises:
        pynamodb.exceptions.PutError: the table can't be written.
    """
    row = _row(secrets.token_hex(6), command)
    row.save(condition=ItemRow.item_id.does_not_exist())
    return row.to_item()


def edit_item(item_id: str, command: WriteItem) -> Item | None:
    """Replace an item; None if there is none. Prices of promotions stay as they were set.

    Raises:
        pynamodb.exceptions.PutError: the table can't be written.
    """
    row = _row(item_id, command)
    try:
        row.save(condition=ItemRow.item_id.exists())
    except PutError as error:
        if not refused_by_condition(error):
            raise
        return None
    return row.to_item()


def _row(item_id: str, command: WriteItem) -> ItemRow:
    return ItemRow(
        item_id,
        name=command.name,
        list_price=str(command.list_price),
        picture=command.picture,
    )
