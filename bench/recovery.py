"""How long the recovery of a wiped promotion takes, from the journal back to the first grab.

The waits of the barrier are not measured: they are settings, not work.
"""

import io
import statistics
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from decimal import Decimal

from bench import promotions
from bench.rows import Row
from chalicelib import clients
from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.decision import Outside
from chalicelib.commands.offer import Offer
from chalicelib.commands.promotions import PromotionRow, close_promotion
from chalicelib.commands.recover import Repair, recover_promotion
from chalicelib.config import settings
from chalicelib.events import AnyEvent
from chalicelib.journal import EventRow
from localstack.cloud import LocalCloud

_EVENTS = 10_000
_ROUNDS = 3
_PER = 100_000
_HOUR_MS = 3_600_000


def rows(_: LocalCloud) -> Iterator[Row]:
    """Seconds per 100,000 events of the journal."""
    seconds = [_recover_once(f"bench-recovery-{turn}") for turn in range(_ROUNDS)]
    yield Row(
        name=f"recovery of {_EVENTS:,} events, for {_PER:,}",
        value=statistics.median(seconds) * _PER / _EVENTS,
        unit="s",
        rounds=_ROUNDS,
    )


def _recover_once(promotion_id: str) -> float:
    store = clients.store()
    told = promotions.AcknowledgesAll()
    outside = Outside(store, told, lambda *_: None, lambda _: True)
    now_ms = clients.store_clock_ms()
    offer = Offer(_EVENTS, Decimal("0.5"), now_ms, now_ms + _HOUR_MS, hold_seconds=3600)
    row = PromotionRow.of(promotion_id, offer, None)
    row.save()
    install_promotion(row, outside)
    customers = promotions.customers(_EVENTS - 1)
    events = [
        event
        for name in customers
        for event in scripts.run(store, "grab", promotion_id, name, "key").events
    ]
    _journal(events)
    store.delete(*promotions.keys_of(promotion_id))
    repair = Repair(lambda _: True, lambda _: None)
    promotions.expect(recover_promotion(promotion_id, outside, repair).outcome, "WAITING")
    time.sleep(settings().settle_s)
    started = time.perf_counter()
    with redirect_stdout(io.StringIO()):  # the metric's line is none of the table's
        outcome = recover_promotion(promotion_id, outside, repair).outcome
    seconds = time.perf_counter() - started
    promotions.expect(outcome, "RECOVERED")
    print(".", end="", flush=True)
    close_promotion(promotion_id, "CANCELLED")
    store.delete(*promotions.keys_of(promotion_id))
    return seconds


def _journal(events: list[AnyEvent]) -> None:
    with EventRow.batch_write() as batch:
        for event in events:
            batch.save(
                EventRow(
                    event.promotion_id,
                    event.version,
                    type=event.type,
                    at=event.at,
                    event=event.to_wire(),
                )
            )
