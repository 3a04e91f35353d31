"""How promotions stand, for the operator: the store where it knows them, else the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from chalicelib.commands import scripts
from chalicelib.commands.promotions import PromotionRow


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

    Raises:
        redis.RedisError: the store is away.
    """
    pipe = store.pipeline(transaction=False)
    for promotion_id in promotion_ids:
        key = scripts.key(promotion_id, "promotion")
        pipe.hmget(key, ["state", "stock", "available", "sold", "version"])
    found: list[Any] = pipe.execute()
    return [
        None if state is None else Standing(state, *map(int, counts)) for state, *counts in found
    ]


def promotions_page(after: str | None, limit: int) -> tuple[list[PromotionRow], str | None]:
    """A page of all promotions there ever were, and where the next one starts.

    Raises:
        pynamodb.exceptions.ScanError: the table can't be read.
    """
    start: Any = {"promotionId": {"S": after}} if after else None
    rows = PromotionRow.scan(limit=limit, last_evaluated_key=start, consistent_read=True)
    found = list(rows)
    last = rows.last_evaluated_key
    return found, last["promotionId"]["S"] if last else None
