"""What a recovery has to find out of stock, restocks, offer and end, and to pass on to the next."""

from decimal import Decimal

from chalicelib.commands import scripts
from chalicelib.commands.edit_promotion import EditPromotion, cancel_promotion, edit_promotion
from chalicelib.commands.offer import Offer
from chalicelib.commands.promotions import PromotionRow, find_promotion
from chalicelib.commands.reconcile import audit
from chalicelib.queries.promotions import active_promotion
from chalicelib.wiring import read_tables
from tests.unit.acts import (
    go_back,
    grab,
    lose,
    recover,
    restock,
    snapshot,
    states,
    wipe,
)
from tests.unit.conftest import state_of
from tests.unit.world import World, killed, world

__all__ = ["world"]


def stock_of(world: World, sale: str) -> str:
    return state_of(world.store, sale)["stock"]


def test_units_of_a_restock_are_counted_once_whatever_became_of_the_start(world: World) -> None:
    sale = world.sale(stock=10)
    assert restock(world, sale, 5, "monday") == "RESTOCKED"
    lose(world, "PromotionStarted")
    world.deliver()
    for _ in range(3):
        wipe(world, sale)
        assert recover(world, sale) == "RECOVERED"
        assert stock_of(world, sale) == "15"
        assert restock(world, sale, 5, "monday") == "REPEATED"
    assert audit(sale, world.outside, read_tables, 0) == []


def test_a_restock_that_only_the_table_has_on_record_is_counted(world: World) -> None:
    sale = world.sale(stock=2, hold_seconds=600)
    assert restock(world, sale, 5, "monday") == "RESTOCKED"
    for n in range(7):
        assert grab(world, sale, f"c-{n}") == "GRANTED"
    lose(world, "PromotionRestocked")
    world.deliver()
    wipe(world, sale)
    recover(world, sale)
    assert set(states(world, sale).values()) == {"GRABBED"}
    assert stock_of(world, sale) == "7"
    assert restock(world, sale, 5, "monday") == "REPEATED"


def test_a_restock_before_the_start_is_known_by_its_key_after_a_recovery(world: World) -> None:
    sale = world.sale(stock=10, now=500)
    assert restock(world, sale, 5, "monday") == "RESTOCKED"
    wipe(world, sale)
    recover(world, sale)
    assert restock(world, sale, 5, "monday") == "REPEATED"
    assert stock_of(world, sale) == "15"
    assert restock(world, sale, 4, "monday") == "IDEMPOTENCY_KEY_REUSED"


def test_a_sale_has_the_offer_that_it_started_with_and_not_that_of_its_row(world: World) -> None:
    """The process died between the store's edit and the table's."""
    sale = world.sale(stock=10, now=500, coupons_per_customer=5)
    edited = Offer(10, Decimal("0.5"), 1000, 2000, 1, 60)
    assert killed(world, 1, lambda: edit_promotion(EditPromotion(sale, edited), world.outside))
    row = find_promotion(sale)
    assert row is not None
    assert row.coupons_per_customer == 5
    world.set_clock(sale, 1500)
    assert grab(world, sale, "alice") == "GRANTED"
    world.deliver()
    wipe(world, sale)
    recover(world, sale)
    state = state_of(world.store, sale)
    assert (state["coupons_per_customer"], state["hold_ms"]) == ("1", "60000")
    world.settle()
    assert PromotionRow.get(sale).coupons_per_customer == 1


def test_a_restock_that_only_a_conflict_tells_of_stays(world: World) -> None:
    sale = world.sale(stock=1, hold_seconds=600)
    then = snapshot(world, sale)
    grab(world, sale, "alice")
    world.deliver()
    go_back(world, sale, then)
    assert restock(world, sale, 1, "monday") == "RESTOCKED"
    for customer in ("bob", "carol"):
        grab(world, sale, customer)
    world.deliver()
    for _ in range(3):
        recover(world, sale)
        assert stock_of(world, sale) == "2"
        assert restock(world, sale, 1, "monday") == "REPEATED"
        wipe(world, sale)


def test_an_end_that_only_a_conflict_tells_of_stays(world: World) -> None:
    sale = world.sale(stock=2)
    then = snapshot(world, sale)
    grab(world, sale, "alice")
    world.deliver()
    go_back(world, sale, then)
    scripts.run(world.store, "cancel", sale)  # its process died before it wrote the row
    world.settle()
    for _ in range(3):
        assert grab(world, sale, "zoe") == "CANCELLED"
        wipe(world, sale)
        recover(world, sale)


def test_a_cancellation_whose_event_is_lost_is_passed_on_from_recovery_to_recovery(
    world: World,
) -> None:
    sale = world.sale(stock=2, hold_seconds=600)
    grab(world, sale, "alice")
    cancel_promotion(sale, world.outside)
    lose(world, "PromotionCancelled")
    world.deliver()
    for _ in range(2):
        wipe(world, sale)
        recover(world, sale)
        assert grab(world, sale, "bob") == "CANCELLED"


def test_a_sale_that_a_recovery_has_opened_again_is_listed(world: World) -> None:
    """Its only coupon is lost, so it is not sold out; the read side had been told that it is."""
    sale = world.sale(stock=1)
    world.deliver()
    grab(world, sale, "alice")
    lose(world, "alice", "PromotionFinished")
    assert active_promotion(sale) is not None
    wipe(world, sale)
    recover(world, sale)
    assert state_of(world.store, sale)["state"] == "ON_SALE"
    listed = active_promotion(sale)
    assert listed is not None
    assert listed.available == 1


def test_a_creation_is_finished_whatever_looks_at_it_first(world: World) -> None:
    """A look of the sweep between the promotion's row and the store recovers nothing."""
    sale = world.sale(stock=3)
    wipe(world, sale)
    world.queues.events.clear()
    PromotionRow(sale).update(actions=[PromotionRow.creating.set("yes")])
    world.settle()
    assert PromotionRow.get(sale).creating is None
    assert state_of(world.store, sale)["version"] == "1"
    assert grab(world, sale, "alice") == "GRANTED"
