"""How promotions stand, for the operator: the store where it knows them, else the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis, RedisError

from chalicelib.commands import scripts
from chalicelib.commands.promotions import PromotionRow
from chalicelib.tables import UnreadableRow, readable


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store has of a promotion: its state and counts, and the newest event's version."""

    state: str
    stock: int
    available: int
    sold: int
    version: int


def standings(promotion_ids: Sequence[str], store: Redis) -> list[Standing | None]:
    """How each promotion stands; None for those the store does not know. One round trip.

    What can't be read of one promotion is counted, and as good as not known.

    Raises:
        redis.RedisError: the store is away.
    """
    pipe = store.pipeline(transaction=False)
    for promotion_id in promotion_ids:
        key = scripts.key(promotion_id, "promotion")
        pipe.hmget(key, ["state", "stock", "available", "sold", "version"])
    found: list[Any] = pipe.execute(raise_on_error=False)
    return [
        _standing(promotion_id, values)
        for promotion_id, values in zip(promotion_ids, found, strict=True)
    ]


def _standing(promotion_id: str, values: Any) -> Standing | None:
    if isinstance(values, RedisError) and not str(values).startswith("WRONGTYPE"):
        raise values
    try:
        state, *counts = values
        return None if state is None else Standing(state, *map(int, counts))
    except (TypeError, ValueError) as error:
        UnreadableRow("store", f"promotionId={promotion_id}", str(error)).count()
        return None


def promotions_page(after: str | None, limit: int) -> tuple[list[PromotionRow], str | None]:
    """A page of all promotions there ever were, and where the next one starts.

    Rows that can't be read are counted and left out, so a page may be short and not the last.

    Raises:
        pynamodb.exceptions.ScanError: the table can't be read.
    """
    start: Any = {"promotionId": {"S": after}} if after else None
    rows = PromotionRow.scan(limit=limit, last_evaluated_key=start, consistent_read=True)
    found = list(readable(rows, PromotionRow.checked))
    last = rows.last_evaluated_key
    return found, last["promotionId"]["S"] if last else None
