"""Create a promotion: the table first, because it knows what the store should have."""

import secrets
from dataclasses import dataclass
from decimal import Decimal

from redis import Redis, RedisError

from chalicelib import telemetry
from chalicelib.commands import outbox, scripts
from chalicelib.commands.promotions import LIVE, PromotionRow
from chalicelib.publisher import EventPublisher
from chalicelib.shapes import Promotion


@dataclass(frozen=True, slots=True)
class CreatePromotion:
    """What the admin wants: see validation.py for the ranges. Times in epoch ms."""

    number_of_coupons: int
    discount: Decimal
    publish_time: int
    finish_time: int
    coupons_per_customer: int = 1
    hold_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Created:
    """The promotion, and whether the store has it already (else the sweep installs it)."""

    promotion: Promotion
    installed: bool


def create_promotion(command: CreatePromotion, store: Redis, publisher: EventPublisher) -> Created:
    """Write the promotion to its table, then install it in the store.

    Raises:
        redis.RedisError: the store is away; nothing was created.
        pynamodb.exceptions.PutError: the table can't be written; nothing was created.
    """
    store.ping()
    row = PromotionRow(
        secrets.token_hex(6),
        number_of_coupons=command.number_of_coupons,
        discount=str(command.discount),
        publish_time=command.publish_time,
        finish_time=command.finish_time,
        coupons_per_customer=command.coupons_per_customer,
        hold_seconds=command.hold_seconds,
        live=LIVE,
    )
    row.save(condition=PromotionRow.promotion_id.does_not_exist())
    try:
        outcome = install_promotion(row, store, publisher)
    except RedisError as error:
        telemetry.count("install_failed", promotion=row.promotion_id, reason=str(error))
        outcome = None
    promotion = Promotion(
        promotion_id=row.promotion_id,
        number_of_coupons=command.number_of_coupons,
        discount=command.discount,
        publish_time=command.publish_time,
        finish_time=command.finish_time,
        coupons_per_customer=command.coupons_per_customer,
        hold_seconds=command.hold_seconds,
        state=outcome or "SCHEDULED",
        available=command.number_of_coupons,
    )
    return Created(promotion, installed=outcome is not None)


def install_promotion(row: PromotionRow, store: Redis, publisher: EventPublisher) -> str:
    """Put a promotion into the store unless it is there; returns its state.

    Raises:
        redis.RedisError: the store is away; calling again is safe.
    """
    fields: dict[str, str | int] = {
        "opens_at": int(row.publish_time),
        "closes_at": int(row.finish_time),
        "stock": int(row.number_of_coupons),
        "available": int(row.number_of_coupons),
        "discount": row.discount,
        "coupons_per_customer": int(row.coupons_per_customer),
        "hold_seconds": int(row.hold_seconds),
    }
    flat = [part for item in fields.items() for part in item]
    reply = scripts.run(store, "install", row.promotion_id, *flat)
    outbox.publish(reply.events, row.promotion_id, store, publisher)
    return reply.detail["state"]
