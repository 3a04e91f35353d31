"""A running local cloud, and how tests talk to it."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localstack import provision
from localstack.cloud import LocalCloud, Options, local_cloud

ROOT = Path(__file__).parent.parent.parent
# What takes longer hangs, however busy the machine is.
HUNG_S = 120


@dataclass(frozen=True)
class Shop:
    """A shop's backend: asks the local cloud over HTTP."""

    cloud: LocalCloud

    def ask(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310
            self.cloud.url + path, data, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=HUNG_S) as response:  # noqa: S310
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def now(self) -> int:
        return int(self.ask("/query/time")[1]["now"])

    def create(self, coupons: int, opens_in_ms: int = -1000, **more: Any) -> str:
        now = self.now()
        offer = {
            "numberOfCoupons": coupons,
            "discount": 0.5,
            "publishTime": now + opens_in_ms,
            "finishTime": now + 600_000,
            **more,
        }
        status, promotion = self.ask("/admin/promotions", offer)
        assert status == 201, promotion
        return str(promotion["promotionId"])

    def grab(self, sale: str, customer: str) -> tuple[int, Any]:
        return self.ask("/command/coupons", {"promotionId": sale, "customerId": customer})

    def journal(self, sale: str) -> list[dict[str, Any]]:
        """The events of a promotion, in order of version."""
        session = provision.session(self.cloud.environ["AWS_ENDPOINT_URL"])
        rows = session.client("dynamodb").query(
            TableName="seckill-local-events",
            KeyConditionExpression="promotionId = :id",
            ExpressionAttributeValues={":id": {"S": sale}},
        )
        return [json.loads(row["event"]["S"]) for row in rows["Items"]]

    def types(self, sale: str) -> list[str]:
        return [event["type"] for event in self.journal(sale)]


def eventually(found: Callable[[], Any], expected: Any, within_s: float = HUNG_S) -> None:
    """Wait for what the queues bring; nothing tells us when, so we look until it hangs."""
    deadline = time.monotonic() + within_s
    while (got := found()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert got == expected


@contextmanager
def patient_cloud(options: Options) -> Iterator[LocalCloud]:
    """A local cloud in which a slow call is slow: on a busy machine it is not an outage."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STORE_TIMEOUT_S", "BROKER_TIMEOUT_S"):
            patch.setenv(name, "60")
        with local_cloud(options) as running:
            yield running


@pytest.fixture(scope="package", params=["sns", "sqs"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    folder = ROOT / ".local" / f"test-{request.param}"
    with patient_cloud(Options(publisher=request.param, folder=folder)) as running:
        yield Shop(running)
