"""Does a deployed sale work? One promotion goes its whole way: `python -m infra.smoke URL`."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator

from infra import adopt
from infra.faults import DeployFault
from infra.http import Sale, expect, within
from infra.package import ROOT

_ALL_WELL = {"store": "ok", "broker": "ok", "tables": "ok"}


def smoke(sale: Sale, patience_s: float = 60.0) -> Iterator[str]:
    """Try a promotion of one coupon; yields a line for each step that went well.

    The promotion is cancelled in any case, so nothing is left on sale.

    Raises:
        DeployFault: a step did not go well; the message names it.
    """
    within("health", lambda: sale.ask("/health"), (200, _ALL_WELL), patience_s)
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
        yield from _try(sale, promotion_id, patience_s)
    finally:
        status, _ = sale.ask(f"/admin/promotions/{promotion_id}", method="DELETE")
    # A promotion that has sold out is over already.
    if status not in (200, 409, 410):
        expect("cancel", status, 200)
    yield "cancel: nothing is left on sale"


def _try(sale: Sale, promotion_id: str, patience_s: float) -> Iterator[str]:
    grab = {"promotionId": promotion_id, "customerId": f"smoke-{promotion_id}"}
    status, coupon = sale.ask("/command/coupons", grab)
    if status != 201:  # noqa: PLR2004
        expect("grab", (status, coupon), 201)
    expect("grab again", sale.ask("/command/coupons", grab), (200, coupon))
    yield f"grab: coupon {coupon['couponId']}, and the same once more"
    began = time.monotonic()
    feed = f"/query/promotions/{promotion_id}/coupons"
    within("read", lambda: sale.ask(feed), (200, [coupon]), patience_s)
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
    """Smoke-test the sale at a URL, or that of a stage; 1 if a step fails."""
    parser = argparse.ArgumentParser(prog="python -m infra.smoke", description=__doc__)
    parser.add_argument("url", nargs="?", help="where the API is")
    parser.add_argument("--stage", default="", help="look its URL up in Chalice's note")
    arguments = parser.parse_args()
    try:
        where = arguments.url or adopt.api_url(ROOT, arguments.stage)
    except DeployFault as fault:
        print(f"seckill: {fault}", file=sys.stderr)
        return 1
    passed = run(Sale.at(where), print)
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
