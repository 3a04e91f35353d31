"""The program in this process: its own store client, AWS by moto, a clock that tests set."""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

import pytest
from chalice.config import Config
from chalice.local import LocalGateway
from moto import mock_aws
from redis import Redis

import app as entry_points
from chalicelib import clients, config
from chalicelib import publisher as publishing
from chalicelib.commands import scripts
from chalicelib.commands.create_promotion import install_promotion
from chalicelib.commands.promotions import LIVE, PromotionRow
from chalicelib.events import AnyEvent
from chalicelib.projections.active_promotions import ActivePromotionRow
from chalicelib.projections.coupons import CouponRow
from chalicelib.projections.journal import EventRow
from chalicelib.publisher import BrokerUnavailable

TABLES = (PromotionRow, EventRow, CouponRow, ActivePromotionRow)
QUEUES = ("journal", "coupons", "active-promotions", "events")

# A script's clock that a test can set, per promotion. Only its first lines differ from the real.
_TEST_CLOCK = """
local function now_ms()
  return tonumber(redis.call('GET', (string.gsub(KEYS[1], ':promotion$', ':clock'))))
end
"""


@pytest.fixture(autouse=True)
def _settings(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REDIS_URL", store_url)
    for function in (config.settings, clients.store, publishing.publisher):
        function.cache_clear()
    yield
    clients.store().close()


@pytest.fixture
def store() -> Redis:
    return clients.store()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tables, queues and the topic, empty, in moto."""
    with mock_aws():
        for table in TABLES:
            table.create_table(billing_mode="PAY_PER_REQUEST", wait=True)
        for name in QUEUES:
            queue = clients.sqs().create_queue(QueueName=f"seckill-test-{name}")["QueueUrl"]
        monkeypatch.setenv("EVENTS_QUEUE_URL", queue)
        topic = clients.sns().create_topic(Name="seckill-test-events")["TopicArn"]
        for name in QUEUES[:3]:
            arn = f"arn:aws:sqs:us-east-1:123456789012:seckill-test-{name}"
            raw = {"RawMessageDelivery": "true"}
            clients.sns().subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
        monkeypatch.setenv("TOPIC_ARN", topic)
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
def promotion(store: Redis, broker: Broker) -> Callable[..., str]:
    """Install a promotion of a fresh id; on sale for an hour unless told otherwise."""

    def install(stock: int = 10, opens_at: int = 0, closes_at: int | None = None) -> str:
        row = promotion_row(stock, opens_at, closes_at or clients.store_clock_ms() + 3_600_000)
        install_promotion(row, store, broker)
        return str(row.promotion_id)

    return install


def promotion_row(stock: int, opens_at: int, closes_at: int) -> PromotionRow:
    return PromotionRow(
        secrets.token_hex(6),
        number_of_coupons=stock,
        discount=str(Decimal("0.15")),
        publish_time=opens_at,
        finish_time=closes_at,
        coupons_per_customer=1,
        hold_seconds=0,
        live=LIVE,
    )


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

    def ask(method: str, path: str, body: Any = None, raw: bytes | None = None) -> Http:
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        answer = gateway.handle_request(method, path, headers, content)
        return Http(answer["statusCode"], json.loads(answer["body"]), answer["headers"])

    return ask


def state_of(store: Redis, promotion_id: str) -> dict[str, str]:
    """The promotion's hash as the store has it."""
    return cast("dict[str, str]", store.hgetall(scripts.key(promotion_id, "promotion")))


def metrics(text: str, name: str) -> list[dict[str, Any]]:
    """The metric lines of `name` in captured output."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith('{"_aws"')]
    return [line for line in lines if name in line]
