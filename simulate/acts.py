"""What each step does: customers', operators' and the system's own calls, and faults."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import CreatePromotion, create_promotion
from chalicelib.commands.edit_promotion import (
    EditPromotion,
    RestockPromotion,
    cancel_promotion,
    edit_promotion,
    restock_promotion,
)
from chalicelib.commands.grab import GrabCoupon, grab_coupon
from chalicelib.commands.offer import Offer
from chalicelib.commands.pay import GiveBackCoupon, PayCoupon, give_back_coupon, pay_coupon
from chalicelib.commands.reconcile import reconcile
from chalicelib.commands.recover import recover_promotion
from chalicelib.commands.sweep import sweep
from chalicelib.commands.wake import wake_promotion
from chalicelib.items import ItemRow
from chalicelib.wiring import read_tables
from simulate import steps, tables
from simulate.evidence import Answer
from simulate.lab import ITEM
from simulate.world import KEY, World

# How long a message that has failed is hidden.
VISIBILITY_MS = 60_000
# The tables that an outage takes away, as they are called within a stage.
_AWAY = {
    "journal": ("events", "conflicts"),
    "promotions": ("promotions",),
    "all": ("events", "conflicts", "promotions", "coupons", "active-promotions", "items"),
}


# --- requests -----------------------------------------------------------------------------------


def _ask(
    world: World,
    step: steps.Step,
    what: str,
    work: Callable[[], tuple[str, Any]],
    **facts: Any,
) -> None:
    """Send a request; `work` returns the outcome and the coupon in the answer."""
    if not world.promotion_id and what != "create":
        return
    began, first = world.now, world.index
    answered, result = world.process(step, work)
    outcome, coupon = result if answered and result else ("", None)
    shown = None if coupon is None else coupon.to_json()
    world.answers.append(
        Answer(
            what, outcome, began, world.now, first, world.index,
            coupon=shown, met=world.met, **facts,
        )
    )  # fmt: skip
    who = facts.get("who")
    if what == "grab" and who and shown:
        known = world.told.setdefault(who, [])
        if shown["number"] not in known:
            known.append(shown["number"])


def _offer(world: World, step: steps.Sale | steps.Edit) -> Offer:
    opens_at = world.now + step.opens_s * 1000
    closes_at = opens_at + step.lasts_s * 1000
    world.ends_at = max(world.ends_at, closes_at)
    item = ITEM if world.sale.price else None
    return Offer(
        number_of_coupons=step.stock,
        discount=Decimal("0.5"),
        publish_time=opens_at,
        finish_time=closes_at,
        coupons_per_customer=step.limit,
        hold_seconds=step.hold_s,
        item_id=item,
    )


def _create(world: World, step: steps.Sale) -> None:
    if world.sale.price:
        ItemRow(ITEM, name="a bicycle", list_price="100.00").save()
    world.wanted = _offer(world, step)
    _send_creation(world, step)


def _create_again(world: World, step: steps.CreateAgain) -> None:
    if world.wanted is not None:
        _send_creation(world, step)


def _send_creation(world: World, step: steps.Step) -> None:
    command = CreatePromotion(world.wanted, KEY)
    offer = command.offer
    asked = {"stock": offer.number_of_coupons, "limit": offer.coupons_per_customer}
    _ask(
        world, step, "create",
        lambda: (create_promotion(command, world.outside).outcome, None), asked=asked,
    )  # fmt: skip
    for row in tables.rows("seckill-local-promotions"):
        world.promotion_id = row["promotionId"]


def _grab(world: World, step: steps.Grab) -> None:
    command = GrabCoupon(world.promotion_id, step.who, step.key)

    def work() -> tuple[str, Any]:
        grab = grab_coupon(command, world.outside)
        return grab.outcome, grab.coupon

    _ask(world, step, "grab", work, who=step.who, asked={"key": step.key})


def _number(world: World, step: steps.Pay | steps.GiveBack) -> int | None:
    known = world.told.get(step.who, [])
    inside = -len(known) <= step.nth < len(known)
    return known[step.nth] if inside else None


def _pay(world: World, step: steps.Pay) -> None:
    number = _number(world, step)
    if number is None:
        return
    command = PayCoupon(world.promotion_id, number, step.who, step.reference)

    def work() -> tuple[str, Any]:
        settled = pay_coupon(command, world.outside)
        return settled.outcome, settled.coupon

    asked = {"reference": step.reference}
    _ask(world, step, "pay", work, who=step.who, number=number, asked=asked)


def _give_back(world: World, step: steps.GiveBack) -> None:
    number = _number(world, step)
    if number is None:
        return
    command = GiveBackCoupon(world.promotion_id, number, step.who)

    def work() -> tuple[str, Any]:
        settled = give_back_coupon(command, world.outside)
        return settled.outcome, settled.coupon

    _ask(world, step, "give back", work, who=step.who, number=number)


def _restock(world: World, step: steps.Restock) -> None:
    command = RestockPromotion(world.promotion_id, step.add, step.key)
    _ask(
        world, step, "restock", lambda: (restock_promotion(command, world.outside), None),
        asked={"add": step.add, "key": step.key},
    )  # fmt: skip


def _edit(world: World, step: steps.Edit) -> None:
    command = EditPromotion(world.promotion_id, _offer(world, step))
    _ask(
        world, step, "edit", lambda: (edit_promotion(command, world.outside), None),
        asked={"stock": step.stock, "limit": step.limit},
    )  # fmt: skip


def _cancel(world: World, step: steps.Cancel) -> None:
    promotion_id = world.promotion_id
    _ask(world, step, "cancel", lambda: (cancel_promotion(promotion_id, world.outside), None))


# --- what runs by itself, and operators' repairs ------------------------------------------------


def _time(world: World, step: steps.Time) -> None:
    world.pass_ms(step.ms)


def _sweep(world: World, step: steps.Sweep) -> None:
    world.process(step, lambda: sweep(world.outside, world.repair))


def _wake(world: World, step: steps.Wake) -> None:
    due = [armed for armed in world.timers if armed.visible_at <= world.now]
    if not due:
        return
    done, _ = world.process(step, lambda: wake_promotion(due[0].timer, world.outside, world.repair))
    if done:
        world.timers.remove(due[0])
    else:
        due[0].visible_at = world.now + VISIBILITY_MS


def _recover(world: World, step: steps.Recover) -> None:
    if not world.promotion_id:
        return
    world.process(step, lambda: recover_promotion(world.promotion_id, world.outside, world.repair))


def _reconcile(world: World, step: steps.Reconcile) -> None:
    if not world.promotion_id:
        return
    world.process(
        step, lambda: reconcile(world.promotion_id, world.outside, world.repair, read_tables)
    )


# --- messages -----------------------------------------------------------------------------------


def _consumer(world: World, step: steps.Consumer) -> None:
    queue = world.broker.queues[step.queue]
    queue.mode = step.mode
    if step.mode == "fails":
        queue.dead += queue.waiting
        queue.waiting.clear()


def _deliver(world: World, step: steps.Deliver) -> None:
    queue = world.broker.queues[step.queue]
    if queue.waiting:
        body = queue.waiting[step.nth % len(queue.waiting)]
        world.process(step, lambda: queue.deliver(body))


def _repeat(world: World, step: steps.Repeat) -> None:
    queue = world.broker.queues[step.queue]
    if queue.delivered:
        body = queue.delivered[step.nth % len(queue.delivered)]
        world.process(step, lambda: queue.deliver(body))


def _redrive(world: World, _: steps.Redrive) -> None:
    for queue in world.broker.all_queues:
        queue.redrive()


def _broker(world: World, step: steps.Broker) -> None:
    world.broker.mode = step.mode


def _tables(world: World, step: steps.Tables) -> None:
    world.tables_away = () if step.available else _AWAY[step.which]


# --- the store ----------------------------------------------------------------------------------


def _snapshot(world: World, _: steps.Snapshot) -> None:
    if world.promotion_id:
        world.snapshots.append(_dump(world))


def _dump(world: World) -> dict[str, bytes]:
    dumps = {part: world.lab.binary.dump(world.key_of(part)) for part in scripts.PARTS}
    return {part: dump for part, dump in dumps.items() if dump}


def _roll_back(world: World, step: steps.RollBack) -> None:
    inside = -len(world.snapshots) <= step.nth < len(world.snapshots)
    if not inside or not world.live():
        return
    then = world.snapshots[step.nth]
    if then != _dump(world):
        world.facts.set_back = True
        world.facts.by_hand = world.facts.by_hand or step.by == "hand"
    if step.by == "hand":
        world.facts.fenced_since = None  # the keys of before have no fence, or one of before
    world.lab.real.delete(*map(world.key_of, scripts.PARTS))
    for part, dump in then.items():
        world.lab.binary.restore(world.key_of(part), 0, dump)
    if step.by == "fail-over":
        _begin_new_history(world)


def _fail_over(world: World, _: steps.FailOver) -> None:
    if world.promotion_id:
        _begin_new_history(world)


def _begin_new_history(world: World) -> None:
    key = world.key_of("promotion")
    if world.lab.real.hexists(key, "history"):
        world.lab.real.hset(key, "history", "of another server")


def _wipe(world: World, step: steps.Wipe) -> None:
    if not world.promotion_id or not world.live():
        return
    parts = scripts.PARTS if step.part == "all" else (step.part,)
    if world.lab.real.delete(*map(world.key_of, parts)):
        world.facts.set_back = True


HANDLERS: dict[type[steps.Step], Callable[[World, Any], None]] = {
    steps.Sale: _create,
    steps.CreateAgain: _create_again,
    steps.Grab: _grab,
    steps.Pay: _pay,
    steps.GiveBack: _give_back,
    steps.Restock: _restock,
    steps.Edit: _edit,
    steps.Cancel: _cancel,
    steps.Time: _time,
    steps.Sweep: _sweep,
    steps.Wake: _wake,
    steps.Recover: _recover,
    steps.Reconcile: _reconcile,
    steps.Consumer: _consumer,
    steps.Deliver: _deliver,
    steps.Repeat: _repeat,
    steps.Redrive: _redrive,
    steps.Broker: _broker,
    steps.Tables: _tables,
    steps.Snapshot: _snapshot,
    steps.RollBack: _roll_back,
    steps.FailOver: _fail_over,
    steps.Wipe: _wipe,
}
