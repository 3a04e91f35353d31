"""The `items` table: the goods that promotions sell. Written by the admin, read by queries."""

from decimal import Decimal

from pynamodb.attributes import UnicodeAttribute

from chalicelib.shapes import Item
from chalicelib.tables import Row, TableMeta, TableName, readable, reads_row, rows_by_key


class ItemRow(Row):
    """One item; the list price as an exact decimal."""

    class Meta(TableMeta):
        """Where the table is."""

        table_name = TableName("items")

    item_id = UnicodeAttribute(hash_key=True, attr_name="itemId")
    name = UnicodeAttribute()
    list_price = UnicodeAttribute(attr_name="listPrice")
    picture = UnicodeAttribute(null=True)

    @reads_row
    def to_item(self) -> Item:
        """The row as the API's item.

        Raises:
            UnreadableRow: it is not as the model says.
        """
        return Item(
            item_id=self.item_id,
            name=self.name,
            list_price=Decimal(self.list_price),
            picture=self.picture,
        )


def find_item(item_id: str) -> Item | None:
    """An item by its id.

    Raises:
        UnreadableRow: it is there and can't be read.
        pynamodb.exceptions.GetError: the table can't be read.
    """
    try:
        return ItemRow.get(item_id, consistent_read=True).to_item()
    except ItemRow.DoesNotExist:
        return None


def find_items(item_ids: set[str]) -> dict[str, Item]:
    """Items by their ids; unknown ids, and items that can't be read, are left out.

    Raises:
        pynamodb.exceptions.GetError: the table can't be read.
    """
    found = readable(rows_by_key(ItemRow, item_ids), ItemRow.to_item)
    return {item.item_id: item for item in found}
