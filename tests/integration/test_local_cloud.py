"""How the local cloud starts and ends: one clear line, and nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from localstack.cloud import Options, local_cloud, only_one
from localstack.processes import LocalCloudError, free_port
from tests.integration.conftest import HUNG_S, ROOT


@contextmanager
def started(*arguments: str, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    """`make up`'s program; ended if a test fails before ending it."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "localstack", "--workers", "1", *arguments],
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


def still_running(family: list[psutil.Process]) -> list[psutil.Process]:
    """Who of them has not ended; an ended one may wait for the system to take note of it."""
    _, there = psutil.wait_procs(family, timeout=HUNG_S)
    return [p for p in there if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_that_was_started(number: signal.Signals) -> None:
    port = free_port()
    with started("--port", str(port)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"ready: http://127.0.0.1:{port}\n"
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 5
        process.send_signal(number)
        assert process.wait(HUNG_S) == 0
        assert still_running(family) == []


def test_when_it_is_killed_its_servers_end_too() -> None:
    with started("--port", str(free_port())) as process:
        assert process.stdout is not None
        process.stdout.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        assert still_running(family) == []


def test_a_server_that_dies_is_named_and_ends_it_all() -> None:
    with started("--port", str(free_port())) as process:
        assert process.stdout is not None
        process.stdout.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        next(child for child in family if "valkey" in child.name()).kill()
        _, error = process.communicate(timeout=HUNG_S)
        assert process.returncode == 1
        warning, fault = error.splitlines()
        assert warning.startswith("open: whoever asks is believed")
        assert fault.startswith("seckill: valkey ended with code -9")
        assert still_running(family) == []


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started("--port", str(port)) as process:
            _, error = process.communicate(timeout=HUNG_S)
    assert process.returncode == 1
    assert error.startswith(f"seckill: port {port} can't be used")
    assert "PORT=" in error


def test_two_in_one_folder_would_lose_each_others_files(tmp_path: Path) -> None:
    options = Options(folder=tmp_path / "cloud")
    (tmp_path / "cloud").mkdir()
    (tmp_path / "cloud" / "http.log").write_text("of the first")
    with (
        only_one(options.folder),
        pytest.raises(LocalCloudError, match="another one is running in"),
        local_cloud(options),
    ):
        pass
    assert (tmp_path / "cloud" / "http.log").exists()


def test_a_store_that_is_not_there_is_one_clear_line() -> None:
    nobody = {"REDIS_URL": "redis://127.0.0.1:9/0", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    with started("--port", str(free_port()), **nobody) as process:
        _, error = process.communicate(timeout=HUNG_S)
    assert process.returncode == 1
    assert error == "seckill: the store at redis://127.0.0.1:9/0 was not ready within 5 s\n"
