"""A cluster in trouble: what one node can't serve is a 503, and the others sell on."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from redis import Redis, RedisCluster
from redis.crc import key_slot
from redis.exceptions import MovedError

from chalicelib import clients, config
from chalicelib.commands import scripts
from chalicelib.commands.decision import Outside
from chalicelib.commands.recover import Repair
from chalicelib.commands.sweep import sweep
from chalicelib.commands.wake import wake_promotion
from chalicelib.timers import Timer
from localstack.processes import Child, stop_all, wait_until
from tests.conftest import cluster_is_ok, start_cluster, start_node
from tests.unit.conftest import Http, create
from tests.unit.test_store_outages import grab, is_outage

Ask = Callable[..., Http]
# One node that is away does not stop the others; what it knew is there when it comes back.
OPTIONS = (
    "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "2000",
    "--appendonly", "yes", "--appendfsync", "always",
)  # fmt: skip


@dataclass
class Nodes:
    """Real servers: three primaries, and a node that has joined and has no slot."""

    folder: Path
    urls: list[str]
    running: list[Child]

    def kill(self, number: int) -> None:
        self.running[number].signal(SIGKILL)
        self.running[number].process.wait()

    def restart(self, number: int) -> None:
        started: list[Child] = []
        port = int(self.urls[number].rpartition(":")[2].removesuffix("/0"))
        start_node(self.folder / str(number), started, port, *OPTIONS)
        [self.running[number]] = started
        for url in self.urls:
            with Redis.from_url(url) as client:
                wait_until(
                    lambda client=client: cluster_is_ok(client, len(self.urls)),  # type: ignore[misc]
                    "the cluster",
                    started,
                )

    def place_of(self, promotion_id: str) -> int:
        """Which of the three primaries has had the promotion from the beginning."""
        return key_slot(promotion_id.encode()) * 3 // 16384


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    running: list[Child] = []
    urls = start_cluster(folder, running, *OPTIONS, without_slots=1)
    yield Nodes(folder, urls, running)
    stop_all(running)


@pytest.fixture
def store(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Redis:
    monkeypatch.setenv("REDIS_CLUSTER", "true")
    return new_client(nodes.urls[0], monkeypatch)


def new_client(url: str, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """What a function has that starts now."""
    monkeypatch.setenv("REDIS_URL", url)
    config.settings.cache_clear()
    clients.store.cache_clear()
    assert isinstance(clients.store(), RedisCluster)
    return clients.store()


@pytest.fixture
def sales(store: Redis, http: Ask, offer: dict[str, Any], nodes: Nodes) -> list[str]:
    """A promotion on each of the three."""
    found: dict[int, str] = {}
    while len(found) < 3:
        sale = create(http, offer, publishTime=0)
        found[nodes.place_of(sale)] = sale
    return [found[place] for place in range(3)]


def create_on(http: Ask, offer: dict[str, Any], nodes: Nodes, place: int) -> Http:
    """Create a promotion whose id belongs to one of the primaries."""
    for number in range(1000):
        key = f"{place}-{time.monotonic_ns()}-{number}"
        if nodes.place_of(hashlib.sha256(key.encode()).hexdigest()[:12]) == place:
            return http("POST", "/admin/promotions", offer, idempotency_key=key)
    raise AssertionError


# The first is what the client asks by default; the second keeps where the sweep stopped.
@pytest.mark.parametrize("victim", [0, 1])
def test_of_three_primaries_one_is_killed_and_the_others_sell_on(
    http: Ask, offer: dict[str, Any], sales: list[str], nodes: Nodes, outside: Outside,
    repair: Repair, victim: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    others = [sale for place, sale in enumerate(sales) if place != victim]
    assert {grab(http, sale, "alice").status for sale in sales} == {201}
    nodes.kill(victim)
    try:
        for _ in range(2):
            assert is_outage(grab(http, sales[victim], "bob"))
        assert {grab(http, sale, "bob").status for sale in others} == {201}
        answers = [create_on(http, offer, nodes, place) for place in range(3)]
        assert [place for place in range(3) if is_outage(answers[place])] == [victim]
        swept = sweep(outside, repair)
        assert sales[victim] in swept.failed
        assert {nodes.place_of(failed) for failed in swept.failed} == {victim}
        assert {wake_promotion(Timer(sale, 1), outside, repair) for sale in others} == {"ON_SALE"}
        with pytest.raises(clients.STORE_ERRORS):
            wake_promotion(Timer(sales[victim], 1), outside, repair)
        cold = new_client(nodes.urls[(victim + 1) % 3], monkeypatch)
        server_with(cold, others[0]).script_flush()
        assert {grab(http, sale, "carol").status for sale in others} == {201}
        assert is_outage(grab(http, sales[victim], "carol"))
    finally:
        nodes.restart(victim)
    mended(replace(outside, store=clients.store()), repair, sales)
    assert [grab(http, sale, "alice").status for sale in sales] == [200] * 3
    assert grab(http, sales[victim], "dave").status == 201


def server_with(store: Any, promotion_id: str) -> Redis:
    node = store.get_node_from_key(scripts.key(promotion_id, "promotion"))
    server: Redis = store.get_redis_connection(node)
    return server


def mended(outside: Outside, repair: Repair, sales: list[str]) -> None:
    """Another server, or another life of it, has the promotions now: they are compared first."""

    def is_mended() -> bool:
        sweep(outside, repair)
        return all(
            scripts.run(outside.store, "advance", sale).outcome == "ON_SALE" for sale in sales
        )

    wait_until(is_mended, "the sales", [])


def test_a_sale_goes_on_when_its_slot_has_moved_to_a_node_that_the_client_does_not_know(
    http: Ask, sales: list[str], nodes: Nodes, outside: Outside, repair: Repair, store: Redis
) -> None:
    sale = sales[0]
    assert grab(http, sale, "alice").status == 201
    slot = key_slot(sale.encode())
    with Redis.from_url(nodes.urls[0]) as old, Redis.from_url(nodes.urls[3]) as new:
        target = new.execute_command("CLUSTER MYID")
        old.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target)
        wait_until(lambda: serves(new, sale), "the slot", [])
    mended(replace(outside, store=store), repair, [sale])
    assert (grab(http, sale, "alice").status, grab(http, sale, "bob").status) == (200, 201)


def serves(server: Redis, sale: str) -> bool:
    """Whether this node itself answers for the promotion."""
    try:
        return bool(server.exists(scripts.key(sale, "promotion")))
    except MovedError:
        return False


def test_while_a_slot_moves_key_by_key_a_grab_is_a_503_and_the_sale_goes_on_after(
    http: Ask, sales: list[str], nodes: Nodes, outside: Outside, repair: Repair, store: Redis
) -> None:
    sale = sales[1]
    assert grab(http, sale, "alice").status == 201
    slot = key_slot(sale.encode())
    with Redis.from_url(nodes.urls[1]) as old, Redis.from_url(nodes.urls[3]) as new:
        source, target = (one.execute_command("CLUSTER MYID").decode() for one in (old, new))
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source)
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target)
        port = new.get_connection_kwargs()["port"]
        for key in (scripts.key(sale, "promotion"), scripts.key(sale, "customers")):
            assert is_outage(grab(http, sale, "bob"))
            old.migrate("127.0.0.1", port, key, 0, 5000)
            assert http("GET", f"/admin/promotions/{sale}").body["state"] == "ON_SALE"
        # As whoever moves a slot does: the rest of it, for instance what a recovery has noted.
        while left := old.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            for key in left:
                old.migrate("127.0.0.1", port, key, 0, 5000)
        for one in (new, old):
            one.execute_command("CLUSTER SETSLOT", slot, "NODE", target)
    mended(replace(outside, store=store), repair, [sale])
    assert (grab(http, sale, "alice").status, grab(http, sale, "bob").status) == (200, 201)
