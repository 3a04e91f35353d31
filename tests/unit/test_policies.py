"""Policies: each function may do what it does, seen by running it, and nothing more."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ConnectTimeoutError
from redis import Redis

import app as entry_points
from chalicelib import clients, config, events
from chalicelib import publisher as publishing
from chalicelib.commands import scripts
from chalicelib.commands.promotions import PromotionRow
from chalicelib.journal import ConflictRow, EventRow
from chalicelib.projections import batch
from chalicelib.projections.batch import BatchFailed
from infra import policies
from localstack.lambdas import scheduled_event, sqs_event
from tests.unit.conftest import Http

# A promotion whose rows can't be reached.
AWAY = "away-away"
_ID = r'(?<="promotionId":)( ?)"[^"]+"'

Used = dict[str, set[tuple[str, str]]]
# One permission covers a call for one message and for ten.
_ONE = {"SendMessageBatch": "SendMessage", "DeleteMessageBatch": "DeleteMessage",
        "PublishBatch": "Publish"}  # fmt: skip


@dataclass
class Seen:
    """The calls made so far, by the function that made them."""

    used: Used = field(default_factory=dict)
    function: str = "the test"

    @contextmanager
    def doing(self, function: str) -> Iterator[None]:
        self.function, before = function, self.function
        yield
        self.function = before

    def note(self, service: str, operation: str, parameters: dict[str, Any]) -> None:
        action = f"{service}:{_ONE.get(operation, operation)}"
        for name in _resources(parameters):
            self.used.setdefault(self.function, set()).add((action, name))


def _resources(parameters: dict[str, Any]) -> list[str]:
    if "RequestItems" in parameters:
        names = list(parameters["RequestItems"])
    elif "TableName" in parameters:
        index = parameters.get("IndexName")
        names = [parameters["TableName"] + (f"/index/{index}" if index else "")]
    elif "TopicArn" in parameters:
        names = [parameters["TopicArn"].rsplit(":", 1)[1]]
    else:
        names = [(parameters.get("QueueName") or parameters["QueueUrl"]).rsplit("/", 1)[-1]]
    return [name.removeprefix("seckill-local-") for name in names]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    seen, client = Seen(), cast("Any", BaseClient)
    call = client._make_api_call  # noqa: SLF001 - where every call passes

    def noted(self: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        seen.note(self.meta.service_model.service_name, operation, parameters)
        if AWAY in str(parameters) and "TableName" in parameters:
            raise ConnectTimeoutError(endpoint_url=AWAY)
        return call(self, operation, parameters)

    batch._queue_url.cache_clear()  # noqa: SLF001 - as in a process that has just begun
    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return seen


def granted(function: str) -> set[tuple[str, str]]:
    """What the function's policy grants in tables, queues and the topic."""
    return {
        (action, resource.split(":", 5)[5].removeprefix("table/").removeprefix("seckill-local-"))
        for statement in policies.policy("local", function)["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
        if action.split(":")[0] in ("dynamodb", "sqs", "sns")
    }


def by_lambda(function: str) -> set[tuple[str, str]]:
    """What Lambda does by the function's role, to feed it from its queue."""
    queue = policies.GRANTS[function].fed_by
    polls = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    return {(f"sqs:{action}", queue) for action in polls} if queue else set()


@pytest.mark.usefixtures("aws")
def test_each_function_may_do_what_it_does_and_nothing_more(
    seen: Seen,
    http: Callable[..., Http],
    store: Redis,
    monkeypatch: pytest.MonkeyPatch,
    offer: dict[str, Any],
) -> None:
    world = World(seen, http, store, monkeypatch, offer)
    for queue in policies.QUEUES:
        clients.sqs().create_queue(QueueName=f"seckill-local-{queue}-dlq")
    world.sell_and_look()
    world.dead_letters()
    for publisher in ("sns", "sqs"):
        world.publish_by(publisher)
        for function, trigger in world.recoveries().items():
            world.recover(function, trigger)
    with seen.doing("rebuild"):
        entry_points.on_rebuild({}, None)
    for function in policies.GRANTS:
        assert seen.used[function] | by_lambda(function) == granted(function), function


def taken(url: str) -> Iterator[Any]:
    """Batches of a queue's messages, which are deleted, until it is empty."""
    while (
        got := clients.sqs()
        .receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        .get("Messages", [])
    ):
        for message in got:
            clients.sqs().delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        yield got


@dataclass
class World:
    """A sale in which everything happens once, by every function."""

    seen: Seen
    http: Callable[..., Http]
    store: Redis
    monkeypatch: pytest.MonkeyPatch
    offer: dict[str, Any]

    def api(self, method: str, path: str, body: Any = None, **more: str) -> Any:
        with self.seen.doing("api_handler"):
            answer = self.http(method, path, body, **more)
        assert answer.status < 500, answer
        return answer.body

    def create(self, **more: Any) -> str:
        return str(self.api("POST", "/admin/promotions", {**self.offer, **more})["promotionId"])

    def feed(self, function: str, queue: str, handler: Any, *bodies: str) -> None:
        """Give a consumer what its queue has, one that can't be read, and one that fails."""
        url = clients.sqs().get_queue_url(QueueName=f"seckill-local-{queue}")["QueueUrl"]
        for body in (*bodies, "poison", *(re.sub(_ID, f'"{AWAY}"', body) for body in bodies[:2])):
            clients.sqs().send_message(QueueUrl=url, MessageBody=body)
        arn = f"arn:aws:sqs:us-east-1:123456789012:seckill-local-{queue}"
        for got in list(taken(url)):  # not what the handler itself sends
            with self.seen.doing(function), suppress(BatchFailed):
                handler(sqs_event(got, arn), None)

    def sell_and_look(self) -> None:
        item = self.api("POST", "/admin/items", {"name": "Kettle", "listPrice": 20})["itemId"]
        self.api("PUT", f"/admin/items/{item}", {"name": "Kettle", "listPrice": 21})
        self.api("GET", f"/query/items/{item}")
        self.api("PUT", f"/admin/promotions/{self.create()}", self.offer)
        sale = self.create(itemId=item, publishTime=0)
        self.api("POST", "/command/coupons", {"promotionId": sale, "customerId": "alice"})
        self.project(sale)
        for path in (
            "/health", "/query/promotions", f"/query/promotions/{sale}", "/query/coupons/alice",
            f"/query/promotions/{sale}/coupons", "/admin/promotions", f"/admin/promotions/{sale}",
            f"/admin/promotions/{sale}/audit",
        ):  # fmt: skip
            self.api("GET", path)
        self.lose(sale)
        with self.seen.doing("api_handler"):
            self.http("POST", f"/command/coupons/{sale}-1/payment", {"customerId": "alice"})

    def project(self, sale: str) -> None:
        self.feed("project_journal", "journal", entry_points.on_journal_messages)
        told = [row.event for row in EventRow.query(sale)]
        told.sort(key=lambda body: "CouponGrabbed" not in body)
        self.feed("project_coupons", "coupons", entry_points.on_coupon_messages, *told)
        target = entry_points.on_active_promotion_messages
        self.feed("project_active_promotions", "active-promotions", target, *told)
        # The same, and another one under the same version: a repeat, and a conflict.
        other = [replace(events.parse(body), at=1).to_wire() for body in told[:1]]
        self.feed("project_all", "events", entry_points.on_all_messages, *told, *other)
        self.feed("project_journal", "journal", entry_points.on_journal_messages, *told, *other)

    def dead_letters(self) -> None:
        for queue in policies.QUEUES:
            url = clients.sqs().get_queue_url(QueueName=f"seckill-local-{queue}-dlq")["QueueUrl"]
            clients.sqs().send_message(QueueUrl=url, MessageBody="poison")
        self.api("GET", "/admin/dead-letters")
        for queue in policies.QUEUES:
            self.api("POST", f"/admin/dead-letters/{queue}", {})
        for queue in policies.QUEUES:
            self.drain(queue)

    def publish_by(self, publisher: str) -> None:
        self.monkeypatch.setenv("PUBLISHER", publisher)
        for function in (config.settings, publishing.publisher):
            function.cache_clear()
        self.api("GET", "/health")

    def sweep_with_work_of_before(self, sale: str) -> None:
        self.store.zadd("seckill:sweep:work", {"left-by-the-sweep-before": 0})
        entry_points.on_sweep(scheduled_event("sweep"), None)
        assert sale

    def recoveries(self) -> dict[str, Callable[[str], object]]:
        """How each function that recovers is made to."""
        return {
            "api_handler": lambda sale: self.http("POST", f"/admin/promotions/{sale}/recovery"),
            "sweep": self.sweep_with_work_of_before,
            "wake": lambda sale: self.feed(
                "wake", "timers", entry_points.on_timer_messages,
                json.dumps({"promotionId": sale, "dueAt": 0}),
            ),
            "recover": lambda _: entry_points.on_recover({}, None),
            "reconcile": lambda _: entry_points.on_reconcile({"repair": True}, None),
        }  # fmt: skip

    def recover(self, function: str, trigger: Callable[[str], object]) -> None:
        """Once with a journal, a conflict and a full outbox; once with no broker to tell."""
        for row in PromotionRow.scan():
            row.delete()
        sale = self.create(publishTime=0)
        self.api("POST", "/command/coupons", {"promotionId": sale, "customerId": "bob"})
        self.project(sale)
        self.empty()
        [first, *_] = (row for row in EventRow.query(sale))
        event = events.parse(first.event)
        ConflictRow(sale, "1-abc", event=replace(event, at=2).to_wire()).save()
        self.lose(sale)
        self.store.delete(scripts.key(sale, "outbox"))
        fields: Any = events.to_entry(replace(event, at=3))
        self.store.xadd(scripts.key(sale, "outbox"), fields, id=f"{event.version}-0")
        for queue in ("journal-dlq", "events-dlq"):  # a recovery takes what is of its promotion
            url = clients.sqs().get_queue_url(QueueName=f"seckill-local-{queue}")["QueueUrl"]
            clients.sqs().send_message(QueueUrl=url, MessageBody=event.to_wire())
        for queue in ("journal", "events"):  # the first time, the journal is not complete yet
            url = clients.sqs().get_queue_url(QueueName=f"seckill-local-{queue}")["QueueUrl"]
            clients.sqs().send_message(QueueUrl=url, MessageBody="on its way")
        for _ in ("WAITING", "RECOVERED"):
            with self.seen.doing(function):
                trigger(sale)
            self.empty()
        lonely = self.create()
        self.empty()
        self.lose(lonely)
        PromotionRow(lonely).update(actions=[PromotionRow.publish_time.set(0)])
        with self.without_a_broker(), self.seen.doing(function):
            trigger(lonely)

    @contextmanager
    def without_a_broker(self) -> Iterator[None]:
        """The topic and the queue that events are sent to are other ones, and not there."""
        current = config.settings()
        away = replace(
            current,
            topic_arn=current.topic_arn + "-away",
            events_queue_url=current.events_queue_url + "-away",
        )
        with self.monkeypatch.context() as patch:
            patch.setattr(publishing, "settings", lambda: away)
            publishing.publisher.cache_clear()
            yield
        publishing.publisher.cache_clear()
        away_names = {"events-away"}
        for used in self.seen.used.values():
            used -= {(action, name) for action, name in used if name in away_names}

    def lose(self, sale: str) -> None:
        self.store.delete(scripts.key(sale, "promotion"))

    def empty(self) -> None:
        """The queues are empty, so recoveries need not wait for the journal."""
        for queue in ("journal", "events", "timers"):
            self.drain(queue)

    def drain(self, queue: str) -> None:
        url = clients.sqs().get_queue_url(QueueName=f"seckill-local-{queue}")["QueueUrl"]
        for _ in taken(url):
            pass


def test_the_files_are_what_the_program_writes() -> None:
    for name, text in policies.files().items():
        assert (policies.CHALICE / name).read_text() == text, (
            f"run python -m infra.policies: {name}"
        )
    there = {path.name for path in policies.CHALICE.glob("policy-*.json")}
    assert there == set(policies.files())


@pytest.mark.parametrize("function", policies.GRANTS)
def test_everything_is_allowed_only_where_aws_has_no_narrower_resource(function: str) -> None:
    for statement in policies.policy("dev", function)["Statement"]:
        services = {action.split(":")[0] for action in statement["Action"]}
        assert not any("*" in action for action in statement["Action"])
        assert ("*" in statement["Resource"]) == (services <= {"ec2", "xray"})


@pytest.mark.parametrize("function", policies.GRANTS)
def test_a_role_takes_its_policy(function: str) -> None:
    # The most that a role takes, without spaces: 10,240 characters.
    text = json.dumps(policies.policy("prod", function), separators=(",", ":"))
    assert len(text) <= 10_240
