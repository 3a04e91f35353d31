"""A real Valkey for all tests, in cluster mode: keys of different slots in one script fail."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations
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
from localstack.processes import Child, LocalCloudError, free_port, stop_all, wait_until

SLOTS = 16384
PRIMARIES = 3
_STARTS = 5


class ByWhatTheyShare(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that share a running part have one process: a file, or the shop of one publisher.

    Each test of the front door starts a cloud of its own, so they share nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        shop = re.search(r"integration/.*\[(sns|sqs)\]$", nodeid)
        if shop or "/test_door.py" in nodeid:
            return shop[1] if shop else nodeid
        in_cluster = re.search(r"[\[-]cluster[\]-]", nodeid)
        return nodeid.split("::", 1)[0] + (in_cluster[0] if in_cluster else "")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return ByWhatTheyShare(config, log)


@pytest.hookimpl
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the store run twice: on one server, and by the cluster's client on three."""
    if metafunc.definition.get_closest_marker("store") is not None:
        ids = ("server", "cluster")
        metafunc.parametrize("in_cluster", [False, True], indirect=True, ids=ids, scope="session")


@pytest.fixture(scope="session")
def in_cluster(request: pytest.FixtureRequest) -> bool:
    """Whether the test has the cluster of three primaries as its store."""
    return bool(getattr(request, "param", False))


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server of our own: one node of a cluster, with all slots."""
    folder = tmp_path_factory.mktemp("valkey")
    server: list[Child] = []
    yield start_store(folder, server)
    server[0].stop()


@pytest.fixture(scope="session")
def cluster_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Three primaries of one cluster, with a third of the slots each."""
    primaries: list[Child] = []
    yield start_cluster(tmp_path_factory.mktemp("cluster"), primaries)
    stop_all(primaries)


@pytest.fixture(scope="session")
def store_url(request: pytest.FixtureRequest, in_cluster: bool) -> str:  # noqa: FBT001
    """The store of the test: a server of our own, or one of the cluster's primaries."""
    if in_cluster:
        return str(request.getfixturevalue("cluster_urls")[0])
    return str(request.getfixturevalue("server_url"))


def start_store(folder: Path, started: list[Child], port: int = 0) -> str:
    """Start a one-node cluster; the process is appended to `started`. Returns its URL."""
    url = start_node(folder, started, port)
    with redis.Redis.from_url(url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        wait_until(lambda: cluster_is_ok(client), "the cluster", started)
    return url


def start_cluster(
    folder: Path, started: list[Child], *options: str, without_slots: int = 0
) -> list[str]:
    """Start three primaries with a third of the slots each; returns the URLs of all nodes.

    `without_slots` more nodes have joined and have no slot yet.
    """
    urls = []
    for number in range(PRIMARIES + without_slots):
        (home := folder / str(number)).mkdir()
        urls.append(start_node(home, started, 0, *options))
    bounds = [SLOTS * number // PRIMARIES for number in range(PRIMARIES + 1)]
    with ExitStack() as stack:
        clients = [stack.enter_context(redis.Redis.from_url(url)) for url in urls]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < PRIMARIES:
                first, last = bounds[number], bounds[number + 1] - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for client, other in permutations(clients, 2):
            address = other.get_connection_kwargs()
            bus = other.config_get("cluster-port")["cluster-port"]
            client.execute_command("CLUSTER", "MEET", address["host"], address["port"], bus)
        for client in clients:
            wait_until(
                lambda client=client: cluster_is_ok(client, len(urls)),  # type: ignore[misc]
                "the cluster",
                started,
            )
    return urls


def cluster_is_ok(client: redis.Redis, nodes: int = 1) -> bool:
    """Whether this node knows so many nodes, and who serves each slot."""
    found: bytes = client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
    parts = (b"cluster_state:ok", b"cluster_known_nodes:%d\r" % nodes)
    return all(part in found for part in parts)


def start_node(folder: Path, started: list[Child], port: int, *options: str) -> str:
    """Start a server in cluster mode, on any free port where `port` is 0; returns its URL."""
    for _ in range(_STARTS):
        found, bus = port or free_port(), free_port()
        extra = ["--cluster-enabled", "yes", "--cluster-port", str(bus), *options]
        child = Child("valkey", valkey_command(found, folder, *extra), os.environ, folder)
        url = f"redis://127.0.0.1:{found}/0"
        try:
            wait_until(lambda url=url: store_answers(url), "valkey", [child])  # type: ignore[misc]
        except LocalCloudError:  # another process has taken a port meanwhile
            child.stop()
            if port:
                raise
            continue
        started.append(child)
        return url
    message = f"valkey did not start in {_STARTS} tries: see {folder}"
    raise LocalCloudError(message)
