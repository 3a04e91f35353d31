"""The front door over HTTP: random requests, tokens, and the clients of the old system."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from localstack.cloud import ROOT, LocalCloud, Options, local_cloud
from localstack.tokens import token
from tests.fuzz import fuzz

CASES = 200
SEED = 7
# The published load model of ServiceComb SecKill, for two of its rounds.
USERS = 200
THINK_S = 0.05
COUPONS = 50
EVERY_S = 10.0
ROUNDS = 2


@pytest.fixture
def cloud() -> Iterator[LocalCloud]:
    """One for each test: what random requests put on sale would keep the old clients busy."""
    with local_cloud(Options(folder=ROOT / ".local" / "test-door")) as running:
        yield running


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    content = None if body is None else json.dumps(body)
    connection.request(method, path, content, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def connect(cloud: LocalCloud) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(cloud.url).netloc, timeout=10)


def test_every_answer_to_random_requests_is_as_described(cloud: LocalCloud) -> None:
    with (ROOT / ".local" / "fuzz.txt").open("w+", encoding="utf-8") as report:
        told = fuzz(cloud.url, CASES, SEED, report=report)
        report.seek(0)
        assert told == 0, report.read()


def old_date(at: datetime) -> str:
    """As the old system's clients write a time: `2018-05-10T08:00:00.000+0000`."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}+0000"


class User(threading.Thread):
    """Lists promotions, grabs when one is active, waits, lists their coupons; again and again."""

    def __init__(self, cloud: LocalCloud, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.cloud, self.number, self.stop = cloud, number, stop
        self.won: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.listed: list[Any] = []
        self.finished = False

    def run(self) -> None:
        with closing(connect(self.cloud)) as connection:
            while not self.stop.is_set():
                self.visit(connection)
                time.sleep(THINK_S)
            # The read tables follow within a second or two.
            time.sleep(3)
            _, self.listed = ask(connection, "GET", f"/query/coupons/{self.number}/")
        self.finished = True

    def visit(self, connection: http.client.HTTPConnection) -> None:
        status, promotions = ask(connection, "GET", "/query/promotions/")
        assert status == 200, promotions
        for promotion in promotions:
            if promotion["promotionId"] in self.won:
                continue
            wish = {"promotionId": promotion["promotionId"], "customerId": str(self.number)}
            status, answer = ask(connection, "POST", "/command/coupons/", wish)
            self.answers[f"{status} {answer.get('code', '')}"] += 1
            if status in (201, 202):
                self.won[promotion["promotionId"]] = answer["couponId"]


def test_the_old_systems_clients_and_load_model_work_and_count_exactly(cloud: LocalCloud) -> None:
    stop = threading.Event()
    users = [User(cloud, number, stop) for number in range(1, USERS + 1)]
    for user in users:
        user.start()
    published = []
    with closing(connect(cloud)) as operator:
        for _ in range(ROUNDS):
            now = datetime.now(UTC)
            offer = {
                "numberOfCoupons": str(COUPONS),
                "discount": "0.7",
                "publishTime": old_date(now - timedelta(seconds=1)),
                "finishTime": str(int((now + timedelta(minutes=5)).timestamp() * 1000)),
            }
            status, made = ask(operator, "POST", "/admin/promotions/", offer)
            assert status == 201, made
            published.append(made["promotionId"])
            time.sleep(EVERY_S)
    stop.set()
    for user in users:
        user.join(60)
    assert all(user.finished for user in users)
    for promotion in published:
        numbers = {user.won[promotion].rsplit("-", 1)[1] for user in users if promotion in user.won}
        assert numbers == {str(number) for number in range(1, COUPONS + 1)}
    for user in users:
        mine = {c["couponId"] for c in user.listed if c["promotionId"] in published}
        assert mine == {coupon for sale, coupon in user.won.items() if sale in published}
    told = sum((user.answers for user in users), Counter[str]())
    assert set(told) <= {"201 ", "202 ", "409 SOLD_OUT"}
    assert told["201 "] + told["202 "] == ROUNDS * COUPONS


def test_where_tokens_are_asked_for_they_work_over_http() -> None:
    with (
        local_cloud(Options(auth="jwt", folder=ROOT / ".local" / "test-jwt")) as cloud,
        closing(connect(cloud)) as connection,
    ):
        key = cloud.environ["JWT_KEY"]
        boss = f"Bearer {token(key, 'boss', admin=True)}"
        alice = f"Bearer {token(key, 'alice')}"
        assert ask(connection, "GET", "/admin/promotions")[0] == 401
        assert ask(connection, "GET", "/admin/promotions", Authorization=alice)[0] == 403
        offer = {
            "numberOfCoupons": 1,
            "discount": 0.5,
            "publishTime": 0,
            "finishTime": "2099-01-01",
        }
        status, sale = ask(connection, "POST", "/admin/promotions", offer, Authorization=boss)
        assert status == 201
        wish = {"promotionId": sale["promotionId"]}
        status, coupon = ask(connection, "POST", "/command/coupons", wish, Authorization=alice)
        assert (status, coupon["customerId"]) == (201, "alice")
        wish["customerId"] = "bob"
        assert ask(connection, "POST", "/command/coupons", wish, Authorization=alice)[0] == 403
