"""Does a deployed sale work? One promotion goes its whole way: `python -m infra.smoke URL`.

A bearer token for a stage behind an authorizer is read from TOKEN; it is never printed.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator

from infra.faults import DeployFault
from infra.http import Sale, expect, within

_ALL_WELL = {"store": "ok", "broker": "ok", "tables": "ok"}


def smoke(sale: Sale) -> Iterator[str]:
    """Try a promotion of one coupon; yields a line for each step that went well.

    The promotion is cancelled in any case, so nothing is left on sale.

    Raises:
        DeployFault: a step did not go well; the message names it.
    """
    within("health", lambda: sale.ask("/health"), (200, _ALL_WELL), 60)
    yield "health: store, broker and tables answer"
    status, clock = sale.ask("/query/time")
    expect("time", status, 200)
    now = clock["now"]
    offer = {"numberOfCoupons": 1, "discount": 0.5, "publishTime": now, "finishTime": now + 600_000}
    status, promotion = sale.ask("/admin/promotions", offer)
    if status != 201:  # noqa: PLR2004
        expect("create", (status, promotion), 201)
    promotion_id = promotion["promotionId"]
    yield f"create: promotion {promotion_id}"
    try:
        yield from _try(sale, promotion_id)
    finally:
        status, _ = sale.ask(f"/admin/promotions/{promotion_id}", method="DELETE")
    # A promotion that has sold out is over already.
    if status not in (200, 409, 410):
        expect("cancel", status, 200)
    yield "cancel: nothing is left on sale"


def _try(sale: Sale, promotion_id: str) -> Iterator[str]:
    grab = {"promotionId": promotion_id, "customerId": f"smoke-{promotion_id}"}
    status, coupon = sale.ask("/command/coupons", grab)
    if status != 201:  # noqa: PLR2004
        expect("grab", (status, coupon), 201)
    expect("grab again", sale.ask("/command/coupons", grab), (200, coupon))
    yield f"grab: coupon {coupon['couponId']}, and the same once more"
    began = time.monotonic()
    feed = f"/query/promotions/{promotion_id}/coupons"
    within("read", lambda: sale.ask(feed), (200, [coupon]), 60)
    yield f"read: the tables have it after {time.monotonic() - began:.1f} s"


def run(sale: Sale, say: Callable[[str], None]) -> bool:
    """Say each step; True if all went well."""
    try:
        for line in smoke(sale):
            say(f"  ok      {line}")
    except DeployFault as fault:
        say(f"  FAILED  {fault}")
        return False
    return True


def main() -> int:
    """Smoke-test the sale at the URL given; 1 if a step fails."""
    if len(sys.argv) != 2:  # noqa: PLR2004
        print("usage: python -m infra.smoke URL", file=sys.stderr)
        return 2
    token = os.environ.get("TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    passed = run(Sale(sys.argv[1].rstrip("/"), headers), print)
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
