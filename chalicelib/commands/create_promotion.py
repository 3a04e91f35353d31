"""Create a promotion: the table first, because it knows what the store should have."""

import hashlib
import secrets
from dataclasses import dataclass

from pynamodb.exceptions import PutError, PynamoDBException

from chalicelib import telemetry
from chalicelib.clients import STORE_ERRORS
from chalicelib.commands import scripts
from chalicelib.commands.decision import NotOnRecord, Outside, decide
from chalicelib.commands.fold import restocks_in_text
from chalicelib.commands.offer import Offer, check_admission, price_for, store_fields
from chalicelib.commands.promotions import PromotionRow, find_promotion, note_created
from chalicelib.tables import refused_by_condition

_ID_BYTES = 6


@dataclass(frozen=True, slots=True)
class CreatePromotion:
    """The admin wants this offer. key: the same when the request is sent again."""

    offer: Offer
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Creation:
    """What became of it: CREATED, REPEATED, or IDEMPOTENCY_KEY_REUSED for another offer.

    state: of a promotion that was created; None where the store was lost just now, and the sweep
    recovers it.
    """

    outcome: str
    row: PromotionRow
    state: str | None = None


def create_promotion(command: CreatePromotion, outside: Outside) -> Creation:
    """Write the promotion to its table, then install it in the store.

    With a key the promotion's id is made of it, so whoever sends the request again, at the same
    moment or a day later, finds what the first one has made.

    Raises:
        UnknownItem: the offer names an item that is not there; nothing was created.
        NoAdmissionKeys: see `check_admission`; nothing was created.
        redis.RedisError: the store is away; nothing was created.
        NotOnRecord: neither broker nor journal took the start; nothing was created.
        pynamodb.exceptions.PynamoDBException: a table is away. Nothing was created, unless the row
            of a creation that was undone could not be deleted: then the sweep creates it.
    """
    check_admission(command.offer)
    row = PromotionRow.of(_id_of(command.key), command.offer, price_for(command.offer))
    # Fails before anything is written if the server of this promotion is down.
    outside.store.exists(scripts.key(row.promotion_id, "promotion"))
    row.request = _digest(repr(command.offer))
    row.creating = "yes"
    try:
        row.save(condition=PromotionRow.promotion_id.does_not_exist())
    except PutError as error:
        if not refused_by_condition(error):
            raise
        if command.key:
            return _made_before(row, outside)
        # A random id is nobody else's: the first sending of this very write has made it.
    return Creation("CREATED", row, _complete(row, outside))


def _complete(row: PromotionRow, outside: Outside) -> str | None:
    """Install a promotion whose row is there; None if the store went away: the sweep does it then.

    Raises:
        NotOnRecord: the start is on record nowhere, and the promotion is taken out again.
        pynamodb.exceptions.PynamoDBException: the row could not be deleted; the sweep completes it.
    """
    try:
        state = install_promotion(row, outside)
    except STORE_ERRORS as error:
        telemetry.count("install_failed", promotion=row.promotion_id, reason=str(error))
        return None
    except NotOnRecord:
        if scripts.run(outside.store, "discard", row.promotion_id).outcome == "DISCARDED":
            row.delete()
            raise
        state = "ON_SALE"
    try:
        note_created(row.promotion_id)
    except PynamoDBException as error:  # it is there; the sweep notes that
        telemetry.count("creation_not_noted", promotion=row.promotion_id, reason=str(error))
    return state


def install_promotion(row: PromotionRow, outside: Outside) -> str:
    """Put a promotion into the store unless it is there; returns its state.

    Raises:
        redis.RedisError: the store is away; calling again is safe.
    """
    fields = ["revision", int(row.revision), *store_fields(row.offer(), row.exact_price())]
    for key, added in restocks_in_text(row.restocks or "").items():
        fields += [f"restock:{key}", f"{added} 0"]
    state: str = decide(outside, "install", row.promotion_id, *fields).reply.detail["state"]
    return state


def _id_of(key: str | None) -> str:
    return _digest(key)[: 2 * _ID_BYTES] if key else secrets.token_hex(_ID_BYTES)


def _made_before(wanted: PromotionRow, outside: Outside) -> Creation:
    """What the first request has made; one that died on its way is completed."""
    found = find_promotion(wanted.promotion_id)
    if found is None or found.request != wanted.request:
        return Creation("IDEMPOTENCY_KEY_REUSED", wanted)
    if found.creating is not None:
        _complete(found, outside)
    return Creation("REPEATED", found)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
