"""An outage of the store is a 503 with Retry-After; a fault of ours is a 500, and no outage."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis
from redis import Redis, exceptions

from chalicelib import clients, config
from chalicelib.commands import scripts
from localstack.cloud import store_answers, valkey_command
from localstack.processes import Child, free_port, wait_until
from tests.unit.conftest import Http, create

Ask = Callable[..., Http]

AWAY: list[Exception] = [
    exceptions.ConnectionError("Connection refused"),
    exceptions.TimeoutError("Timeout reading from socket"),
    exceptions.MaxConnectionsError("Too many connections"),
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.AuthenticationError("invalid username-password pair or user is disabled."),
    exceptions.AuthenticationWrongNumberOfArgsError("wrong number of arguments for 'auth'"),
    exceptions.AuthorizationError("not authorized"),
    exceptions.ExternalAuthProviderError("the provider is away"),
    exceptions.NoPermissionError("this user has no permissions to run the 'evalsha' command"),
    exceptions.InvalidResponse("Protocol Error: b'HTTP/1.1'"),
    exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    exceptions.ExecAbortError("Transaction discarded because of: OOM command not allowed"),
    exceptions.RedisClusterException("Redis Cluster cannot be connected."),
    exceptions.ClusterError("TTL exhausted."),
    exceptions.ClusterDownError("The cluster is down"),
    exceptions.MasterDownError("Link with MASTER is down and replica-serve-stale-data is no"),
    exceptions.SlotNotCoveredError('Slot "1" is not covered by the cluster.'),
    exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    exceptions.MovedError("1 127.0.0.1:7000"),
    exceptions.AskError("1 127.0.0.1:7000"),
    exceptions.InvalidPipelineStack("Unexpected response length"),
    exceptions.ResponseError("BUSY Valkey is busy running a script."),
    exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."),
    exceptions.ResponseError("MISCONF Valkey is configured to save RDB snapshots"),
    exceptions.ResponseError("LOADING Valkey is loading the dataset in memory"),
    exceptions.ResponseError("CLUSTERDOWN The cluster is down. script: 0"),
]
FAULTS: list[Exception] = [
    exceptions.RedisError("of no kind"),
    exceptions.ResponseError("ERR user_script:1: Script attempted to access nonexistent variable"),
    exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    exceptions.ResponseError("BUSYGROUP Consumer Group name already exists"),
    exceptions.ResponseError("BUSYKEY Target key name already exists."),
    exceptions.NoScriptError("No matching script."),
    exceptions.DataError("Invalid input of type: 'NoneType'."),
    exceptions.ClusterCrossSlotError("Keys in request don't hash to the same slot"),
    exceptions.CrossSlotTransactionError("All keys must map to the same slot"),
    exceptions.WatchError("Watched variable changed."),
    exceptions.PubSubError("no handler"),
    exceptions.ModuleError("Error loading the extension."),
    exceptions.NoSuchFieldsetError("no such fieldset"),
    exceptions.LockError("not owned"),
    exceptions.LockNotOwnedError("not owned"),
]
# Faults of the process, or of redis-py; no call of the store can raise them here.
NOT_OF_THE_STORE = {exceptions.ChildDeadlockedError, exceptions.IncorrectPolicyType}


def grab(http: Ask, sale: str, customer: str) -> Http:
    return http("POST", "/command/coupons", {"promotionId": sale, "customerId": customer})


def is_outage(answer: Http) -> bool:
    told = (answer.status, answer.body.get("code"), answer.headers.get("Retry-After"))
    return told == (503, "STORE_UNAVAILABLE", "1")


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Make every script raise this."""

    def set_to(error: Exception) -> None:
        def run(**_: Any) -> None:
            raise error

        monkeypatch.setattr(scripts, "script", lambda _, __: run)

    return set_to


@pytest.mark.parametrize("error", AWAY, ids=repr)
def test_an_outage_is_a_503_and_names_when_to_ask_again(
    http: Ask, fail: Callable[[Exception], None], error: Exception
) -> None:
    fail(error)
    assert is_outage(grab(http, "any", "alice"))


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_fault_of_ours_is_a_500(
    http: Ask, fail: Callable[[Exception], None], error: Exception
) -> None:
    fail(error)
    answer = grab(http, "any", "alice")
    assert (answer.status, answer.body["code"]) == (500, "STORE_ERROR")


def test_each_exception_of_the_client_is_one_or_the_other() -> None:
    known = {type(error) for error in (*AWAY, *FAULTS)} | NOT_OF_THE_STORE
    there = {
        found
        for found in vars(exceptions).values()
        if isinstance(found, type) and issubclass(found, Exception)
    }
    assert there - known == set()
    assert all(isinstance(error, clients.STORE_ERRORS) for error in (*AWAY, *FAULTS))


@pytest.fixture
def sale(http: Ask, offer: dict[str, Any]) -> str:
    return create(http, offer, publishTime=0)


def test_a_store_that_is_busy_with_a_script_is_an_outage(
    http: Ask, sale: str, store: Redis, store_url: str
) -> None:
    store.config_set("busy-reply-threshold", 1)
    with Redis.from_url(store_url) as other:

        def never_end() -> None:
            with suppress(exceptions.ResponseError):  # it is killed
                other.eval("while true do end", 0)

        slow = Thread(target=never_end)
        slow.start()
        try:
            wait_until(lambda: refuses(store, "BUSY"), "the slow script", [])
            answer = grab(http, sale, "alice")
        finally:
            store.script_kill()
            slow.join()
            store.config_set("busy-reply-threshold", 5000)
    assert is_outage(answer)
    assert grab(http, sale, "alice").status == 201


def refuses(store: Redis, word: str) -> bool:
    try:
        store.get("any")
    except redis.RedisError as error:
        return str(error).startswith(word)
    return False


def test_a_store_that_is_loading_is_an_outage(
    http: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with server(tmp_path, port), Redis.from_url(url) as client:
        for number in range(100):
            client.set(f"key-{number}", os.urandom(2048))
        client.save()
    slowly = ("--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024")
    with server(tmp_path, port, *slowly, answers=False), Redis.from_url(url) as client:
        wait_until(lambda: is_loading(client), "the loading server", [])
        monkeypatch.setenv("REDIS_URL", url)
        config.settings.cache_clear()
        clients.store.cache_clear()
        assert is_outage(grab(http, "any", "alice"))


@contextmanager
def server(folder: Path, port: int, *options: str, answers: bool = True) -> Iterator[None]:
    child = Child("valkey", valkey_command(port, folder, *options), os.environ, folder)
    try:
        if answers:
            url = f"redis://127.0.0.1:{port}/0"
            wait_until(lambda: store_answers(url), "valkey", [child])
        yield
    finally:
        child.signal(signal.SIGKILL)
        child.process.wait()


def is_loading(client: Redis) -> bool:
    try:
        client.get("any")
    except exceptions.BusyLoadingError:
        return True
    except exceptions.ConnectionError:
        return False
    return False
