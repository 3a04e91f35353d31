"""The demo's promotion: put on sale through the API, read back through the API and the journal."""

import json
import re
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.config import read_settings
from localstack.cloud import LocalCloud
from localstack.provision import session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OPEN_FOR_MS = 3_600_000
PAGE = 100
TIMEOUT_S = 30
REHEARSED = 20
# 202: decided, and its event waits in the outbox.
ANSWERS = (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED)
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="next"')


class SaleFailed(Exception):
    """The system did not do what the demo needs to go on; the message says what, in one line."""


@dataclass(frozen=True, slots=True)
class Sale:
    """One promotion of a running local cloud."""

    cloud: LocalCloud
    promotion_id: str

    def coupons(self) -> list[dict[str, Any]]:
        """All coupons of the promotion in order of number, page by page.

        Raises:
            SaleFailed: a page was refused.
        """
        found: list[dict[str, Any]] = []
        path = f"/query/promotions/{self.promotion_id}/coupons"
        url: str | None = f"{self.cloud.url}{path}?after=0&limit={PAGE}"
        while url:
            page, link = _ask(url)
            found.extend(page)
            following = _NEXT.search(link)
            url = urljoin(url, following[1]) if following else None
        return found

    def available(self) -> int | None:
        """What the API shows as left; None when the promotion is not on sale.

        Raises:
            SaleFailed: the question was refused.
        """
        shown, _ = _ask(f"{self.cloud.url}/query/promotions")
        return next((p["available"] for p in shown if p["promotionId"] == self.promotion_id), None)

    def journal(self) -> list[dict[str, Any]]:
        """The promotion's rows in the journal, in order of version.

        Raises:
            SaleFailed: the table can't be read.
        """
        try:
            return list(self._journal())
        except (BotoCoreError, ClientError) as error:
            message = f"the journal can't be read: {error}"
            raise SaleFailed(message) from error

    def _journal(self) -> Iterator[dict[str, Any]]:
        pages = (
            self._tables()
            .get_paginator("query")
            .paginate(
                TableName=self._table("events"),
                KeyConditionExpression="promotionId = :promotion",
                ExpressionAttributeValues={":promotion": {"S": self.promotion_id}},
                ConsistentRead=True,
            )
        )
        for page in pages:
            for row in page["Items"]:
                yield {
                    "promotionId": row["promotionId"]["S"],
                    "version": int(row["version"]["N"]),
                    "type": row["type"]["S"],
                    "at": int(row["at"]["N"]),
                    "event": row["event"]["S"],
                }

    def has_journaled(self, granted: int, customers: int, coupons: int) -> bool:
        """True when the journal has every grant, and the sale is over if it should be.

        Raises:
            SaleFailed: a table can't be read.
        """
        ends = customers >= coupons
        left = None if ends else coupons - granted
        return self.available() == left and len(self.journal()) >= 1 + granted + ends

    def is_settled(self, customers: int, coupons: int) -> bool:
        """True when a sale with payment is over, and the tables have all that happened in it.

        Raises:
            SaleFailed: a table can't be read.
        """
        if self.available() != (max(0, coupons - customers) or None):
            return False
        journal, states = self.journal(), Counter(coupon["state"] for coupon in self.coupons())
        kinds = Counter(row["type"] for row in journal)
        return (
            len(journal) == max((row["version"] for row in journal), default=-1)
            and kinds["PromotionFinished"] == (customers >= coupons)
            and states.total() == kinds["CouponGrabbed"]
            and states["PAID"] == kinds["CouponPaid"] == min(customers, coupons)
            and states["GRABBED"] == 0
        )

    def delete_a_coupon(self) -> str:
        """Delete one coupon behind the system's back, as a fault would; returns its id.

        Raises:
            SaleFailed: there is none, or the table can't be written.
        """
        coupons = self.coupons()
        if not coupons:
            message = "there is no coupon to delete"
            raise SaleFailed(message)
        coupon = coupons[len(coupons) // 2]
        key = {"customerId": {"S": coupon["customerId"]}, "coupon": {"S": coupon["couponId"]}}
        try:
            self._tables().delete_item(TableName=self._table("coupons"), Key=key)
        except (BotoCoreError, ClientError) as error:
            message = f"the coupon can't be deleted: {error}"
            raise SaleFailed(message) from error
        return str(coupon["couponId"])

    def _tables(self) -> "DynamoDBClient":
        client: DynamoDBClient = session(self.cloud.environ["AWS_ENDPOINT_URL"]).client("dynamodb")
        return client

    def _table(self, name: str) -> str:
        return read_settings(self.cloud.environ).resource_name(name)


def open_sale(cloud: LocalCloud, coupons: int, hold_s: int = 0) -> Sale:
    """Create a promotion of `coupons` coupons that is on sale at once, for an hour.

    With `hold_s` each has to be paid within as many seconds.

    Raises:
        SaleFailed: it was refused.
    """
    body = {
        "numberOfCoupons": coupons,
        "discount": 0.5,
        "publishTime": 0,
        "finishTime": int(time.time() * 1000) + OPEN_FOR_MS,
        "holdSeconds": hold_s,
    }
    promotion, _ = _ask(f"{cloud.url}/admin/promotions", body)
    sale = Sale(cloud, promotion["promotionId"])
    if not wait_for(lambda: sale.available() == coupons, TIMEOUT_S):
        message = f"the promotion is not shown as on sale after {TIMEOUT_S} s"
        raise SaleFailed(message)
    return sale


def rehearse(cloud: LocalCloud) -> float:
    """Sell a few coupons of another promotion; returns the seconds until they could be read.

    The first call on every connection takes a quarter of a second of set-up, in each HTTP
    worker and in each function. A sale that matters does not begin on a cold system.

    Raises:
        SaleFailed: not all of them were sold and readable in time.
    """
    started = time.monotonic()
    sale = open_sale(cloud, REHEARSED)
    with ThreadPoolExecutor(REHEARSED) as crowd:
        bodies = [
            {"promotionId": sale.promotion_id, "customerId": f"rehearsal-{position}"}
            for position in range(REHEARSED)
        ]
        list(crowd.map(lambda body: _ask(f"{cloud.url}/command/coupons", body), bodies))
    if not wait_for(
        lambda: len(sale.coupons()) == REHEARSED and sale.available() is None, TIMEOUT_S
    ):
        message = f"the {REHEARSED} coupons of the rehearsal are not readable after {TIMEOUT_S} s"
        raise SaleFailed(message)
    return time.monotonic() - started


def wait_for(settled: Callable[[], bool], within_s: float) -> bool:
    """Ask `settled` again and again; False if it was not true within the time."""
    deadline = time.monotonic() + within_s
    while not settled():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _ask(url: str, body: dict[str, Any] | None = None) -> tuple[Any, str]:
    """The JSON at `url`, and its Link header."""
    payload = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, payload, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            if response.status not in ANSWERS:
                message = f"{url} answered {response.status}"
                raise SaleFailed(message)
            return json.load(response), response.headers.get("Link", "")
    except urllib.error.HTTPError as error:
        message = f"{url} answered {error.code}: {error.read(300).decode(errors='replace')}"
        raise SaleFailed(message) from error
    except OSError as error:
        message = f"{url} did not answer: {error}"
        raise SaleFailed(message) from error
