"""Change a promotion: edit it before its start, add stock to it, cancel it."""

import secrets
from dataclasses import dataclass

from chalicelib.commands.decision import Outside, decide
from chalicelib.commands.offer import Offer, check_admission, price_for, store_fields
from chalicelib.commands.promotions import copy_from_store, note_end

MAX_COUPONS = 10_000_000
# How often a cancelling call goes on with releases itself; a timer does the rest.
_RELEASE_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class EditPromotion:
    """The admin wants this offer instead."""

    promotion_id: str
    offer: Offer


@dataclass(frozen=True, slots=True)
class RestockPromotion:
    """The admin adds units; `key` is the same when the request is sent again."""

    promotion_id: str
    add: int
    key: str | None = None


def edit_promotion(command: EditPromotion, outside: Outside) -> str:
    """Replace the offer until the promotion has started; returns the outcome of edit.lua.

    The store decides, in one step; the table follows it.

    Raises:
        UnknownItem: the offer names an item that is not there; nothing was changed.
        NoAdmissionKeys: see `check_admission`; nothing was changed.
        redis.RedisError: the store is away; asking again is safe.
        pynamodb.exceptions.PynamoDBException: a table is away; asking again is safe, and the
            sweep makes the table follow otherwise.
    """
    check_admission(command.offer)
    fields = store_fields(command.offer, price_for(command.offer))
    key = secrets.token_urlsafe(9)
    outcome = decide(outside, "edit", command.promotion_id, key, *fields).outcome
    if outcome == "EDITED":
        copy_from_store(command.promotion_id, outside.store)
    return outcome


def restock_promotion(command: RestockPromotion, outside: Outside) -> str:
    """Add units to a promotion that is not over; returns the outcome of restock.lua.

    Raises:
        redis.RedisError: the store is away; asking again is safe only with a key.
        NotOnRecord: see `decide`.
        pynamodb.exceptions.UpdateError: the units are there, the table follows by the sweep.
    """
    key = command.key or f"!{secrets.token_urlsafe(9)}"  # no operator's key begins like this
    decision = decide(outside, "restock", command.promotion_id, command.add, key, MAX_COUPONS)
    if decision.outcome in ("RESTOCKED", "REPEATED"):
        copy_from_store(command.promotion_id, outside.store)
    return decision.outcome


def cancel_promotion(promotion_id: str, outside: Outside) -> str:
    """Stop a promotion at once; returns the outcome of cancel.lua.

    Raises:
        redis.RedisError: the store is away; asking again is safe.
        NotOnRecord: see `decide`.
        pynamodb.exceptions.UpdateError: it is cancelled, the table follows by the sweep.
    """
    decision = decide(outside, "cancel", promotion_id)
    outcome = decision.outcome
    if outcome == "CANCELLED":
        note_end(promotion_id, outcome)
        for _ in range(_RELEASE_ROUNDS):
            if "backlog" not in decide(outside, "advance", promotion_id).reply.detail:
                break
    return outcome
