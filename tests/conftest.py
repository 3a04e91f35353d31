"""A real Valkey for all tests, in cluster mode: keys of different slots in one script fail."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

os.environ.update(
    STAGE="local",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 - what emulators take
)
os.environ.pop("AWS_ENDPOINT_URL", None)

import pytest
import redis
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from localstack.cloud import store_answers, valkey_command
from localstack.processes import Child, free_port, wait_until


class ByWhatTheyShare(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that share a running part have one process: a file, or the shop of one publisher.

    Each test of the front door starts a cloud of its own, so they share nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        shop = re.search(r"integration/.*\[(sns|sqs)\]$", nodeid)
        if shop or "/test_door.py" in nodeid:
            return shop[1] if shop else nodeid
        return nodeid.split("::", 1)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return ByWhatTheyShare(config, log)


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server of our own: one node of a cluster, with all slots."""
    folder = tmp_path_factory.mktemp("valkey")
    server: list[Child] = []
    yield start_store(folder, server)
    server[0].stop()


def start_store(folder: Path, started: list[Child], port: int = 0) -> str:
    """Start a one-node cluster; the process is appended to `started`. Returns its URL."""
    port = port or free_port()
    bus = free_port()
    extra = ["--cluster-enabled", "yes", "--cluster-port", str(bus)]
    child = Child("valkey", valkey_command(port, folder, *extra), os.environ, folder)
    started.append(child)
    url = f"redis://127.0.0.1:{port}/0"
    wait_until(lambda: store_answers(url), "valkey", [child])
    with redis.Redis.from_url(url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(
            lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"),
            "the cluster",
            [child],
        )
    return url
