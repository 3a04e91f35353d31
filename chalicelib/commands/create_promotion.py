"""Create a promotion: the table first, because it knows what the store should have."""

import secrets
from dataclasses import dataclass

from chalicelib import telemetry
from chalicelib.clients import STORE_ERRORS
from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.offer import Offer, check_admission, price_for, store_fields
from chalicelib.commands.promotions import PromotionRow


@dataclass(frozen=True, slots=True)
class CreatePromotion:
    """The admin wants this offer."""

    offer: Offer


def create_promotion(command: CreatePromotion, outside: Outside) -> tuple[PromotionRow, str | None]:
    """Write the promotion to its table, then install it in the store.

    Returns the row and the promotion's state; None where the store was lost just now, and the
    sweep installs it.

    Raises:
        UnknownItem: the offer names an item that is not there; nothing was created.
        NoAdmissionKeys: see `check_admission`; nothing was created.
        redis.RedisError: the store is away; nothing was created.
        pynamodb.exceptions.PynamoDBException: a table is away; nothing was created.
    """
    check_admission(command.offer)
    outside.store.ping()
    row = PromotionRow.of(secrets.token_hex(6), command.offer, price_for(command.offer))
    row.save(condition=PromotionRow.promotion_id.does_not_exist())
    try:
        return row, install_promotion(row, outside)
    except STORE_ERRORS as error:
        telemetry.count("install_failed", promotion=row.promotion_id, reason=str(error))
        return row, None


def install_promotion(row: PromotionRow, outside: Outside) -> str:
    """Put a promotion into the store unless it is there; returns its state.

    Raises:
        redis.RedisError: the store is away; calling again is safe.
    """
    fields = ["revision", int(row.revision), *store_fields(row.offer(), row.exact_price())]
    state: str = decide(outside, "install", row.promotion_id, *fields).reply.detail["state"]
    return state
