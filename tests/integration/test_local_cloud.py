"""A whole sale over HTTP, through real queues, into real tables; and how the local cloud ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from localstack import provision
from localstack.cloud import LocalCloud, Options, local_cloud
from localstack.processes import free_port

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module", params=["sns", "sqs"])
def cloud(request: pytest.FixtureRequest) -> Iterator[LocalCloud]:
    folder = ROOT / ".local" / f"test-{request.param}"
    with local_cloud(Options(publisher=request.param, folder=folder)) as running:
        yield running


def ask(cloud: LocalCloud, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(cloud.url + path, data, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def eventually(found: Callable[[], Any], expected: Any, within_s: float = 20) -> None:
    """Wait for what the queues bring; nothing tells us when, so we look until the time is up."""
    deadline = time.monotonic() + within_s
    while (got := found()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert got == expected


def create(cloud: LocalCloud, coupons: int) -> str:
    now = ask(cloud, "/query/time")[1]["now"]
    offer = {
        "numberOfCoupons": coupons,
        "discount": 0.5,
        "publishTime": now - 1000,
        "finishTime": now + 600_000,
    }
    status, promotion = ask(cloud, "/admin/promotions", offer)
    assert status == 201
    return str(promotion["promotionId"])


def grab(cloud: LocalCloud, sale: str, customer: str) -> tuple[int, Any]:
    return ask(cloud, "/command/coupons", {"promotionId": sale, "customerId": customer})


def journal(cloud: LocalCloud, sale: str) -> list[str]:
    endpoint = cloud.environ["AWS_ENDPOINT_URL"]
    rows = provision.session(endpoint).client("dynamodb").query(
        TableName="seckill-local-events",
        KeyConditionExpression="promotionId = :id",
        ExpressionAttributeValues={":id": {"S": sale}},
    )  # fmt: skip
    return [row["type"]["S"] for row in rows["Items"]]


def test_a_crowd_gets_exactly_what_there_is_and_the_tables_show_it(cloud: LocalCloud) -> None:
    sale = create(cloud, coupons=20)
    eventually(lambda: [p["promotionId"] for p in ask(cloud, "/query/promotions")[1]], [sale])
    with ThreadPoolExecutor(32) as crowd:
        answers = list(crowd.map(lambda n: grab(cloud, sale, f"customer-{n}"), range(300)))
    won = [body for status, body in answers if status == 201]
    assert len(won) == 20
    assert {(s, b["code"]) for s, b in answers if s != 201} == {(409, "SOLD_OUT")}
    feed = f"/query/promotions/{sale}/coupons"
    eventually(lambda: len(ask(cloud, feed)[1]), 20)
    stored = ask(cloud, feed)[1]
    assert stored == sorted(won, key=lambda coupon: coupon["number"])
    assert [coupon["number"] for coupon in stored] == list(range(1, 21))
    winner = won[0]["customerId"]
    assert ask(cloud, f"/query/coupons/{winner}") == (200, [won[0]])
    expected = ["PromotionStarted", *["CouponGrabbed"] * 20, "PromotionFinished"]
    eventually(lambda: journal(cloud, sale), expected)
    eventually(lambda: ask(cloud, "/query/promotions")[1], [])


def test_a_trailing_slash_of_an_old_client_is_understood(cloud: LocalCloud) -> None:
    assert ask(cloud, "/query/promotions/")[0] == 200
    assert ask(cloud, "/command/coupons/", {})[0] == 400


def test_an_unknown_path_is_not_found(cloud: LocalCloud) -> None:
    assert (ask(cloud, "/nothing/here")[0], ask(cloud, "/")[0]) == (404, 404)


def test_an_encoded_id_in_a_path_is_the_id(cloud: LocalCloud) -> None:
    sale = create(cloud, coupons=1)
    assert grab(cloud, sale, "alice@example.com")[0] == 201
    path = "/query/coupons/alice%40example.com"
    eventually(lambda: len(ask(cloud, path)[1]), 1)


@contextmanager
def started(*arguments: str, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    """`make up`'s program; ended if a test fails before ending it."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "localstack", *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_that_was_started(number: signal.Signals) -> None:
    port = free_port()
    with started("--port", str(port)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready: http://127.0.0.1:{port}\n"
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 5
        process.send_signal(number)
        assert process.wait(10) == 0
        _, alive = psutil.wait_procs(family, timeout=1)
        assert alive == []


def test_when_it_is_killed_its_servers_end_too() -> None:
    with started("--port", str(free_port())) as process:
        assert process.stdout is not None
        process.stdout.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []


def test_a_server_that_dies_is_named_and_ends_it_all() -> None:
    with started("--port", str(free_port())) as process:
        assert process.stdout is not None
        process.stdout.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        next(child for child in family if "valkey" in child.name()).kill()
        _, error = process.communicate(timeout=15)
        assert process.returncode == 1
        assert error.startswith("seckill: valkey ended with code -9")
        assert error.count("\n") == 1
        assert psutil.wait_procs(family, timeout=1)[1] == []


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started("--port", str(port)) as process:
            _, error = process.communicate(timeout=15)
    assert process.returncode == 1
    assert error.startswith(f"seckill: port {port} can't be used")
    assert "PORT=" in error


def test_a_store_that_is_not_there_is_one_clear_line() -> None:
    nobody = {"REDIS_URL": "redis://127.0.0.1:9/0", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with started("--port", str(free_port()), **nobody) as process:
        _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert error == "seckill: the store at redis://127.0.0.1:9/0 was not ready within 5 s\n"
