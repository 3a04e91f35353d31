"""Does a deployed sale work? One promotion goes its whole way: `python -m infra.smoke URL`."""

import argparse
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from infra import adopt, stack, stage, users
from infra.account import LOCAL, account, refuse_open_in_the_cloud
from infra.faults import DeployFault, told_in_one_line
from infra.http import Sale, expect, within
from infra.package import ROOT

Steps = Generator[str, None, None]

_ALL_WELL = {"store": "ok", "broker": "ok", "tables": "ok"}


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer who is known by a token: their id, and the sale as they ask it."""

    id: str
    sale: Sale


def smoke(sale: Sale, patience_s: float = 60.0, customer: Customer | None = None) -> Steps:
    """Try a promotion of one coupon; yields a line for each step that went well.

    sale: as an operator asks it. customer: who grabs, where tokens are asked for; else anybody
    may, and that is not tried. The promotion is cancelled in any case, so nothing is left on sale.

    Raises:
        DeployFault: a step did not go well; the message names it.
    """
    within("health", lambda: sale.ask("/health"), (200, _ALL_WELL), patience_s)
    yield "health: store, broker and tables answer"
    status, clock = sale.ask("/query/time")
    expect("time", status, 200)
    now = clock["now"]
    if customer is not None:
        yield from _doors(sale, customer)
    offer = {"numberOfCoupons": 1, "discount": 0.5, "publishTime": now, "finishTime": now + 600_000}
    status, promotion = sale.ask("/admin/promotions", offer)
    if status != 201:  # noqa: PLR2004
        expect("create", (status, promotion), 201)
    promotion_id = promotion["promotionId"]
    yield f"create: promotion {promotion_id}"
    try:
        yield from _try(sale, promotion_id, patience_s, customer)
    finally:
        status, _ = sale.ask(f"/admin/promotions/{promotion_id}", method="DELETE")
    # A promotion that has sold out is over already.
    if status not in (200, 409, 410):
        expect("cancel", status, 200)
    yield "cancel: nothing is left on sale"


def _doors(sale: Sale, customer: Customer) -> Steps:
    status, _ = replace(sale, headers={}).ask("/admin/promotions")
    expect("an operator's list without a token", status, 401)
    status, _ = customer.sale.ask("/admin/promotions")
    expect("an operator's list with a customer's token", status, 403)
    yield "doors: closed without a token, and operators' to customers"


def _try(sale: Sale, promotion_id: str, patience_s: float, customer: Customer | None) -> Steps:
    who = customer or Customer(f"smoke-{promotion_id}", sale)
    grab = {"promotionId": promotion_id, "customerId": who.id}
    status, coupon = who.sale.ask("/command/coupons", grab)
    if status != 201:  # noqa: PLR2004
        expect("grab", (status, coupon), 201)
    expect("grab again", who.sale.ask("/command/coupons", grab), (200, coupon))
    if customer is not None:
        expect("grab: the coupon's owner", coupon["customerId"], who.id)
    yield f"grab: coupon {coupon['couponId']}, and the same once more"
    began = time.monotonic()
    feed = f"/query/promotions/{promotion_id}/coupons"
    within("read", lambda: sale.ask(feed), (200, [coupon]), patience_s)
    yield f"read: the tables have it after {time.monotonic() - began:.1f} s"


def run(steps: Steps, say: Callable[[str], None]) -> bool:
    """Say each step; True if all went well. Cleans up also when it is interrupted."""
    try:
        with closing(steps):
            for line in steps:
                say(f"  ok      {line}")
    except DeployFault as fault:
        say(f"  FAILED  {fault}")
        return False
    return True


def as_users(
    sale: Sale, cognito: Any, outputs: Mapping[str, str], patience_s: float = 60.0
) -> Steps:
    """The same steps with the tokens of two users, who are made for it and deleted afterwards.

    Raises:
        DeployFault: a step did not go well, or the users can't be made or deleted.
    """
    with users.throwaway(cognito, outputs) as made:
        yield "users: an operator and a customer are signed in"
        customer = Customer(made.customer.subject, sale.signed_in(made.customer.token))
        yield from smoke(sale.signed_in(made.operator.token), patience_s, customer)
    yield "users: deleted"


def try_stage(name: str, where: str, say: Callable[[str], None]) -> bool:
    """Try the stage whose API is at `where`; True if all went well.

    Raises:
        DeployFault: the stage's stack can't be asked for its user pool.
    """
    sale = Sale(where)
    if name == LOCAL:
        return run(smoke(sale), say)
    session = account(stage.read(), name)
    with told_in_one_line():
        outputs = stack.outputs(session.client("cloudformation"), f"seckill-{name}")
        cognito = session.client("cognito-idp")
    return run(as_users(sale, cognito, outputs), say)


def main() -> int:
    """Smoke-test a stage, or an open sale at a URL; 1 if a step fails."""
    parser = argparse.ArgumentParser(prog="python -m infra.smoke", description=__doc__)
    parser.add_argument("url", nargs="?", help="where the API of the local stage is")
    parser.add_argument("--stage", default=LOCAL, help="look its URL up in Chalice's note")
    arguments = parser.parse_args()
    try:
        if arguments.url is None:
            refuse_open_in_the_cloud(arguments.stage)
        where = (arguments.url or adopt.api_url(ROOT, arguments.stage)).rstrip("/")
        passed = try_stage(arguments.stage, where, print)
    except DeployFault as fault:
        print(f"seckill: {fault}", file=sys.stderr)
        return 1
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
