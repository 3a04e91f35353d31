"""A fail-over that keeps connections: a warm function must not stay with the demoted primary.

Two real servers, and a name for them that goes over to the new primary, as ElastiCache's does.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from redis import Redis, RedisCluster
from redis.exceptions import ReadOnlyError

from chalicelib import clients, config, journal
from chalicelib.commands.decision import Outside
from chalicelib.commands.recover import Repair, recover_promotion
from localstack.cloud import store_answers, valkey_command
from localstack.processes import Child, free_port, wait_until
from tests.unit.test_recover import Live, grab, live

__all__ = ["live"]


@dataclass
class Name:
    """An address on loopback; each new connection goes to the server that it stands for now."""

    port: int
    stands_for: int
    connections: int = 0
    open: list[socket.socket] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self.stands_for))
                self.connections += 1
                self.open += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=pass_on, args=(source, target)).start()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Until one of the two hangs up."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def named(port: int) -> Iterator[Name]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        name = Name(listener.getsockname()[1], port)
        thread = threading.Thread(target=name.serve, args=(listener,))
        thread.start()
        yield name
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in name.open:
            one.close()


@dataclass
class Pair:
    """A primary and its replica, the name that functions know, and what they work with."""

    primary: Redis
    replica: Redis
    name: Name
    warm: Outside

    def fail_over(self) -> None:
        """The replica is promoted, the primary follows it; connections are kept."""
        self.replica.replicaof("NO", "ONE")
        self.primary.replicaof("127.0.0.1", port_of(self.replica))
        self.primary, self.replica = self.replica, self.primary
        wait_until(self.follows, "the demoted primary", [])

    def follows(self) -> bool:
        told = self.replica.info("replication")
        return bool(
            told.get("master_link_status") == "up"
            and told["master_repl_offset"] == self.primary.info("replication")["master_repl_offset"]
        )


def port_of(store: Redis) -> int:
    return int(store.get_connection_kwargs()["port"])


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: Outside) -> Iterator[Pair]:
    with ExitStack() as stack:
        stores = []
        for number in range(2):
            (folder := tmp_path / str(number)).mkdir()
            port = free_port()
            command = valkey_command(port, folder, "--repl-diskless-sync-delay", "0")
            server = Child("valkey", command, os.environ, folder)
            stack.callback(server.stop)
            url = f"redis://127.0.0.1:{port}/0"
            wait_until(lambda url=url: store_answers(url), "valkey", [server])  # type: ignore[misc]
            stores.append(stack.enter_context(Redis.from_url(url)))
        primary, replica = stores
        replica.replicaof("127.0.0.1", port_of(primary))
        name = stack.enter_context(named(port_of(primary)))
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{name.port}/0")
        config.settings.cache_clear()
        clients.store.cache_clear()
        warm = replace(outside, store=clients.store(), keep=lambda e: bool(journal.append(e)))
        stack.callback(warm.store.close)
        pair = Pair(primary, replica, name, warm)
        wait_until(pair.follows, "the replica", [])
        yield pair


def on_sale(live: Live, pair: Pair, repair: Repair) -> str:
    """A promotion that the warm function has sold a coupon of, and that a fail-over has met since.

    Another process, which found the new primary, has compared it with the journal.
    """
    sale = live(installed=False)
    recover_promotion(sale, pair.warm, repair)
    assert grab(sale, "alice", pair.warm) == "GRANTED"
    wait_until(pair.follows, "the replica", [])
    pair.fail_over()
    with Redis("127.0.0.1", port_of(pair.primary), decode_responses=True) as other:
        there = replace(pair.warm, store=other)
        assert recover_promotion(sale, there, repair).outcome == "RESUMED"
    wait_until(pair.follows, "the demoted primary", [])
    return sale


def test_a_warm_function_follows_the_stores_name_to_the_new_primary(
    live: Live, pair: Pair, repair: Repair
) -> None:
    sale = on_sale(live, pair, repair)
    pair.name.stands_for = port_of(pair.primary)
    assert grab(sale, "bob", pair.warm) == "GRANTED"
    assert grab(sale, "alice", pair.warm) == "REPEATED"
    assert pair.name.connections == 2


def test_until_the_name_has_moved_a_grab_is_refused_after_two_tries_and_then_sold(
    live: Live, pair: Pair, repair: Repair
) -> None:
    sale = on_sale(live, pair, repair)
    with pytest.raises(ReadOnlyError):
        grab(sale, "bob", pair.warm)
    assert pair.name.connections == 2
    pair.name.stands_for = port_of(pair.primary)
    assert grab(sale, "bob", pair.warm) == "GRANTED"
    assert pair.name.connections == 3


def test_a_store_in_cluster_mode_takes_the_same_settings(
    live: Live, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There redis-py follows the cluster's own word of who is primary."""
    monkeypatch.setenv("REDIS_CLUSTER", "true")
    config.settings.cache_clear()
    clients.store.cache_clear()
    assert isinstance(clients.store(), RedisCluster)
    assert grab(live(), "alice", replace(outside, store=clients.store())) == "GRANTED"
