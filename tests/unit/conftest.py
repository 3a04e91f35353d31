"""The program in this process: its own store client, AWS by moto, a clock that tests set."""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from threading import Condition
from typing import Any, cast

import boto3
import pytest
from chalice.config import Config
from chalice.local import LocalGateway
from moto import mock_aws
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID
from redis import Redis, RedisCluster

import app as entry_points
from chalicelib import clients, config
from chalicelib import publisher as publishing
from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.decision import Outside
from chalicelib.commands.offer import Offer
from chalicelib.commands.promotions import PromotionRow
from chalicelib.commands.recover import Repair
from chalicelib.events import AnyEvent
from chalicelib.items import ItemRow
from chalicelib.journal import ConflictRow, EventRow
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.publisher import BrokerUnavailable
from chalicelib.timers import Timer
from simulate.lab import Lab, open_lab

TABLES = (PromotionRow, EventRow, CouponRow, ActivePromotionRow, ItemRow, ConflictRow)
PROJECTED = ("journal", "coupons", "active-promotions")
QUEUES = (*PROJECTED, "events", "timers")
REGION = "us-east-1"

# A script's clock that a test can set, per promotion. Only its first lines differ from the real.
_TEST_CLOCK = """
local function now_ms()
  return tonumber(redis.call('GET', (string.gsub(KEYS[1], ':promotion$', ':clock'))))
end
"""


@pytest.fixture(autouse=True)
def _settings(
    store_url: str,
    in_cluster: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    monkeypatch.setenv("REDIS_URL", store_url)
    monkeypatch.setenv("REDIS_CLUSTER", str(in_cluster))
    monkeypatch.setenv("STORE_TIMEOUT_S", "60")  # on a busy machine a slow call is no outage
    monkeypatch.setenv("SETTLE_S", "0.0001")
    monkeypatch.setenv("WATCH_S", "0.0001")
    for function in (config.settings, clients.store, publishing.publisher):
        function.cache_clear()
    yield
    if clients.store.cache_info().currsize:
        clients.store().close()


@pytest.fixture
def store() -> Redis:
    return clients.store()


@dataclass(frozen=True)
class Account:
    """What moto keeps of our tables, queues and topic."""

    tables: dict[str, Any]
    queues: dict[str, Any]
    topics: dict[str, Any]
    subscriptions: dict[str, Any]


@cache
def blank_account() -> tuple[Account, dict[str, str]]:
    """Tables, queues and topic just after they were made, and the settings that name them.

    Made once per process: through the API this takes longer than most tests.
    """
    sqs, sns = boto3.client("sqs"), boto3.client("sns")
    with mock_aws():
        for table in TABLES:
            table.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
        urls = {
            name: sqs.create_queue(QueueName=f"seckill-local-{name}")["QueueUrl"] for name in QUEUES
        }
        topic = sns.create_topic(Name="seckill-local-events")["TopicArn"]
        for name in PROJECTED:
            arn = f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:seckill-local-{name}"
            raw = {"RawMessageDelivery": "true"}
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
        account = Account(
            dict(_moto("dynamodb").tables),
            dict(_moto("sqs").queues),
            dict(_moto("sns").topics),
            dict(_moto("sns").subscriptions),
        )
    return account, {
        "TIMERS_QUEUE_URL": urls["timers"],
        "EVENTS_QUEUE_URL": urls["events"],
        "TOPIC_ARN": topic,
    }


def _moto(service: str) -> Any:
    """Where moto keeps the state of a service."""
    return get_backend(cast("Any", service))[DEFAULT_ACCOUNT_ID][REGION]


def _copied(account: Account) -> Account:
    """A copy that shares nothing: locks are made anew, and its topic is one of this moto."""
    instead: dict[int, Any] = {
        id(queue._messages_lock): Condition()  # noqa: SLF001 - can't be copied
        for queue in account.queues.values()
    }
    instead |= {id(topic.sns_backend): _moto("sns") for topic in account.topics.values()}
    return deepcopy(account, instead)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tables, queues and the topic, empty, in moto."""
    blank, settings = blank_account()
    with mock_aws():
        account = _copied(blank)
        _moto("dynamodb").tables.update(account.tables)
        _moto("sqs").queues.update(account.queues)
        _moto("sns").topics.update(account.topics)
        _moto("sns").subscriptions.update(account.subscriptions)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        config.settings.cache_clear()
        yield


@dataclass
class Broker:
    """A broker whose faults a test stages: away, or refusing a part."""

    published: list[AnyEvent] = field(default_factory=list)
    away: bool = False
    accepts: int = 10

    def publish(self, events: Sequence[AnyEvent]) -> list[AnyEvent]:
        if self.away:
            message = "connection refused"
            raise BrokerUnavailable(message)
        taken = list(events[: self.accepts])
        self.published += taken
        return taken


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def armed() -> list[Timer]:
    """The timers that were armed."""
    return []


@pytest.fixture
def outside(store: Redis, broker: Broker, armed: list[Timer]) -> Outside:
    return Outside(store, broker, lambda timer, _: armed.append(timer), lambda _: True)


@pytest.fixture
def repair() -> Repair:
    """Recoveries find the journal's queue empty, and rebuild nothing."""
    return Repair(lambda _: True, lambda _: None)


@pytest.fixture
def promotion(outside: Outside) -> Callable[..., str]:
    """Install a promotion of a fresh id; on sale for an hour unless told otherwise."""

    def install(
        stock: int = 10, opens_at: int = 0, closes_at: int | None = None, **more: Any
    ) -> str:
        closes_at = closes_at or clients.store_clock_ms() + 3_600_000
        row = promotion_row(stock, opens_at, closes_at, **more)
        install_promotion(row, outside)
        return str(row.promotion_id)

    return install


def promotion_row(stock: int, opens_at: int, closes_at: int, **more: Any) -> PromotionRow:
    price = more.pop("price", None)
    offer = Offer(stock, Decimal("0.15"), opens_at, closes_at, **more)
    return PromotionRow.of(secrets.token_hex(6), offer, price)


@pytest.fixture
def set_clock(store: Redis, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Make the scripts read a clock that the test sets, per promotion, instead of the store's."""
    made: dict[str, Any] = {}

    def script(store: Redis, name: str) -> Any:
        if name not in made:
            made[name] = store.register_script(scripts.source(name, _TEST_CLOCK))
        return made[name]

    monkeypatch.setattr(scripts, "script", script)

    def set_to(promotion_id: str, at: int) -> None:
        store.set(scripts.key(promotion_id, "clock"), at)

    return set_to


@pytest.fixture
def sale_at(set_clock: Callable[[str, int], None], outside: Outside) -> Callable[..., str]:
    """A promotion whose clock the test sets: it stands at 0, opens at 1000, closes at 2000."""

    def install(stock: int = 10, opens_at: int = 1000, closes_at: int = 2000, **more: Any) -> str:
        row = promotion_row(stock, opens_at, closes_at, **more)
        set_clock(row.promotion_id, 0)
        install_promotion(row, outside)
        return str(row.promotion_id)

    return install


@pytest.fixture
def offer() -> dict[str, Any]:
    """What an operator sends: five coupons, in an hour, for an hour."""
    now = clients.store_clock_ms()
    return {
        "numberOfCoupons": 5,
        "discount": 0.15,
        "publishTime": now + 3_600_000,
        "finishTime": now + 2 * 3_600_000,
    }


@dataclass(frozen=True)
class Http:
    """An HTTP answer."""

    status: int
    body: Any
    headers: dict[str, str]


@pytest.fixture
def http(aws: None) -> Callable[..., Http]:
    """Ask the app as API Gateway would, with a real Lambda event."""
    gateway = LocalGateway(entry_points.app, Config())

    def ask(
        method: str, path: str, body: Any = None, raw: bytes | None = None, **more: str
    ) -> Http:
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        answer = gateway.handle_request(method, path, headers, content)
        return Http(answer["statusCode"], json.loads(answer["body"]), answer["headers"])

    return ask


@pytest.fixture(scope="module")
def lab(store_url: str) -> Iterator[Lab]:
    """The simulator's lab; all histories use the same ids and keys, so the store is empty."""
    with Redis.from_url(store_url) as store:
        store.flushdb()
    with open_lab(store_url) as made:
        yield made


def create(http: Callable[..., Http], offer: dict[str, Any], **more: Any) -> str:
    """Create a promotion as the operator does; its id."""
    return str(http("POST", "/admin/promotions", {**offer, **more}).body["promotionId"])


def server_of(store: Redis, promotion_id: str) -> Redis:
    """The client of the one server that has the promotion."""
    if not isinstance(store, RedisCluster):
        return store
    node = store.get_node_from_key(scripts.key(promotion_id, "promotion"))
    return cast("Redis", store.get_redis_connection(node))


def state_of(store: Redis, promotion_id: str) -> dict[str, str]:
    """The promotion's hash as the store has it."""
    return cast("dict[str, str]", store.hgetall(scripts.key(promotion_id, "promotion")))


def metrics(text: str, name: str) -> list[dict[str, Any]]:
    """The metric lines of `name` in captured output."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"_aws"')]
    return [line for line in lines if name in line]
