"""The parts of the local cloud as processes that can be killed and come back."""

import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from localstack import provision
from localstack.cloud import (
    ROOT,
    aws_answers,
    http_command,
    ministack_binary,
    ministack_environ,
    store_answers,
    valkey_command,
)
from localstack.processes import HUNG_AFTER_S, Child, free_port, stop_all, wait_until

STAGE = "local"
# A failed message comes again after seconds, and as often as SQS can: a good one must not end in a
# DLQ because consumers were killed or slow, or tables away. Poison goes there at once.
PARAMETERS = {"VisibilitySeconds": "3", "MaxReceiveCount": "1000"}
# A promotion is watched so long after its end.
WATCH_S = 12
SKEW = Path(__file__).parent / "skew"
SERVERS = ("http-0", "http-1")
CONSUMERS = ("consumers-0", "consumers-1")
STORE, SWEEP = "store", "sweep"
_AOF = "appendonlydir"


@dataclass(slots=True)
class Parts:
    """What runs. `commands` and `environ` make each part anew.

    ended: those that did so by themselves. mortal: the seeds of those that end at a statement of a
    recovery, whenever they are started, see mortal.py. armed: those of them that run so just now.
    killed: how often that has happened.
    """

    folder: Path
    urls: list[str]
    store_url: str
    aws_url: str
    control_port: int
    environ: dict[str, str]
    commands: dict[str, Sequence[str | Path]] = field(default_factory=dict)
    running: dict[str, Child] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    mortal: dict[str, str] = field(default_factory=dict)
    armed: set[str] = field(default_factory=set)
    killed: int = 0

    @property
    def deaths(self) -> Path:
        """Where a part that is killed at a statement says which one it was."""
        return self.folder / "deaths.jsonl"

    def start(self, name: str, clock_off_s: int = 0) -> None:
        """Start a part, with a wrong clock if so wished."""
        environ, command = self.environ, self.commands[name]
        self.armed.discard(name)
        if name in self.mortal:
            python, module, *rest = command
            assert module == "-m"  # noqa: S101 - only what Python runs can be traced
            command = [python, "-m", "chaos.mortal", *rest]
            self.mortal[name] += "+"  # each time other statements
            environ = environ | {"MORTAL_SEED": self.mortal[name], "MORTAL_LOG": str(self.deaths)}
            self.armed.add(name)
        if clock_off_s:
            path = f"{SKEW}{os.pathsep}{environ['PYTHONPATH']}"
            environ = environ | {"PYTHONPATH": path, "CLOCK_OFF_S": str(clock_off_s)}
        self.running[name] = Child(name, command, environ, self.folder)

    def kill(self, name: str) -> None:
        """Kill -9 a part with all its processes."""
        child = self.running.pop(name)
        os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()

    def check(self) -> None:
        """Note the parts that ended without our doing, and start them again."""
        for name, child in list(self.running.items()):
            code = child.process.poll()
            if code is None:
                continue
            if name in self.armed and code == -signal.SIGKILL:
                self.killed += 1
                child.stop()
                self.start(name)
            else:
                self.ended.append(f"{name} with code {code}, see {child.log.relative_to(ROOT)}")
                child.stop()
                self.start(name)

    def control(self, **weather: float | str | bool) -> None:
        """Tell the proxies what to do from now on."""
        address = ("127.0.0.1", self.control_port)
        with socket.create_connection(address, timeout=HUNG_AFTER_S) as connection:
            connection.sendall(json.dumps(weather).encode() + b"\n")
            connection.recv(16)

    def store(self) -> redis.Redis:
        """A connection to the store itself, past the proxy."""
        return redis.Redis.from_url(
            self.store_url, decode_responses=True, socket_timeout=HUNG_AFTER_S
        )

    def snapshot(self) -> Path:
        """The store as it is now, in a file."""
        with self.store() as store:
            store.save()
        copy = self.folder / "snapshot.rdb"
        shutil.copy(self.folder / "dump.rdb", copy)
        return copy

    def restore(self, snapshot: Path) -> None:
        """Replace what a killed store had by an older snapshot of it."""
        folder = self.folder / _AOF
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        base = "appendonly.aof.1.base.rdb"
        shutil.copy(snapshot, folder / base)
        (folder / "appendonly.aof.manifest").write_text(f"file {base} seq 1 type b\n")


@contextmanager
def parts(folder: Path, publisher: str, seed: int) -> Iterator[Parts]:
    """The whole local cloud behind the proxies, and gone afterwards.

    Raises:
        LocalCloudError: a part can't start.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store_port, aws_port, store_proxy, aws_proxy, control = (free_port() for _ in range(5))
    urls = [f"http://127.0.0.1:{free_port()}" for _ in SERVERS]
    environ = _environ(publisher)
    aws_url = f"http://127.0.0.1:{aws_port}"
    store_url = f"redis://127.0.0.1:{store_port}/0"
    all_parts = Parts(folder, urls, store_url, aws_url, control, environ)
    # Written before the answer, so kill -9 loses nothing; fsync is for machines that fall over.
    aof = ("--appendonly", "yes", "--appendfsync", "no")
    all_parts.commands[STORE] = valkey_command(store_port, folder, *aof)
    all_parts.commands["proxies"] = [
        sys.executable, "-m", "chaos.proxies", "--seed", str(seed), "--control-port", str(control),
        "--store-port", str(store_proxy), "--store-target", str(store_port),
        "--aws-port", str(aws_proxy), "--aws-target", str(aws_port),
    ]  # fmt: skip
    aws = Child("aws", [ministack_binary()], ministack_environ(aws_url, folder), folder)
    try:
        all_parts.start(STORE)
        all_parts.start("proxies")
        children = [aws, *all_parts.running.values()]
        wait_until(lambda: store_answers(store_url), "the store", children)
        wait_until(lambda: aws_answers(aws_url), "AWS", children)
        environ["REDIS_URL"] = f"redis://127.0.0.1:{store_proxy}/0"
        environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{aws_proxy}"
        _add_outputs(environ, aws_url)
        _start_ours(all_parts)
        yield all_parts
    finally:
        stop_all([*reversed(all_parts.running.values()), aws])


def _environ(publisher: str) -> dict[str, str]:
    return {
        **os.environ,
        "STAGE": STAGE,
        "PUBLISHER": publisher,
        # Below a client's patience; and no request of ours runs longer than a store settles.
        "BROKER_TIMEOUT_S": "0.5",
        "SETTLE_S": "4",
        "WATCH_S": str(WATCH_S),
        "AWS_DEFAULT_REGION": provision.REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


def _add_outputs(environ: dict[str, str], aws_url: str) -> None:
    outputs: Mapping[str, str] = provision.provision(aws_url, STAGE, PARAMETERS)
    for name, output in (
        ("TOPIC_ARN", "TopicArn"),
        ("EVENTS_QUEUE_URL", "EventsQueueUrl"),
        ("TIMERS_QUEUE_URL", "TimersQueueUrl"),
    ):
        environ[name] = outputs[output]


def _start_ours(all_parts: Parts) -> None:
    """HTTP servers, consumers, sweep; returns when they work."""
    for name, url in zip(SERVERS, all_parts.urls, strict=True):
        all_parts.commands[name] = http_command(int(url.rsplit(":", 1)[1]), 2)
    for name in CONSUMERS:
        all_parts.commands[name] = [sys.executable, "-m", "localstack.lambdas"]
    all_parts.commands[SWEEP] = [sys.executable, "-m", "chaos.sweeper"]
    names = (*SERVERS, *CONSUMERS, SWEEP)
    for name in names:
        all_parts.start(name)
    children = [all_parts.running[name] for name in names]
    for url in all_parts.urls:
        wait_until(lambda url=url: _listens(url), f"the HTTP server at {url}", children)  # type: ignore[misc]
    for child in children[len(SERVERS) :]:
        wait_until(lambda child=child: child.log.stat().st_size > 0, child.name, children)  # type: ignore[misc]


def _listens(url: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=1):
            return True
    except OSError:
        return False
