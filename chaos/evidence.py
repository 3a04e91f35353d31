"""What a run left behind, read past the proxies, as the plain dicts that the checker takes."""

import json
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from chaos.client import read_lines
from chaos.faults import QUEUES
from chaos.parts import STAGE, Parts
from localstack.provision import session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeFilterType

_DEPTHS: list["QueueAttributeFilterType"] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]
_COUNTS = ("version", "stock", "available", "sold")
# A recovery hides the dead letters that it looks at for half a minute.
_HIDDEN_S = 300.0
_NOTHING: dict[str, Any] = {"state": "UNKNOWN", "waiting": 0, "work": [],
                            **dict.fromkeys(_COUNTS, 0)}  # fmt: skip
_OUTBOX = re.compile(r"seckill:\{(.+)\}:outbox")
# As the store writes a coupon: "number version at state ...", the last by one letter.
_LETTERS = {"G": "GRABBED", "P": "PAID", "R": "RELEASED", "B": "RELEASED", "V": "REVOKED",
            "W": "REFUND_DUE", "D": "REFUND_DUE", "E": "REFUND_DUE", "F": "REFUND_DUE"}  # fmt: skip


class Witness:
    """Reads tables, queues and the store."""

    def __init__(self, parts: Parts) -> None:
        """Of these parts."""
        made = session(parts.aws_url)
        self._parts = parts
        self._sqs: SQSClient = made.client("sqs")
        self._tables: DynamoDBClient = made.client("dynamodb")
        self.queues = {
            name: self._sqs.get_queue_url(QueueName=f"seckill-{STAGE}-{name}")["QueueUrl"]
            for queue in QUEUES
            for name in (queue, f"{queue}-dlq")
        }

    def depths(self) -> dict[str, int]:
        """How many messages each queue has, seen or unseen."""
        return {name: self._depth(name) for name in QUEUES}

    def unquiet(self) -> str:
        """What still goes on, with numbers that change as long as it does; empty: all is quiet."""
        deep = {name: depth for name, depth in self.depths().items() if depth}
        if deep:
            return ", ".join(f"{depth} in {name}" for name, depth in deep.items())
        store = self.store()
        at_work = sorted(f"{name} {work}" for name, held in store.items() for work in held["work"])
        if at_work:
            return "; ".join(at_work)
        open_ = [name for name, held in store.items() if held["state"] in ("SCHEDULED", "ON_SALE")]
        if open_:
            return f"{len(open_)} promotions on sale"
        waiting = sum(counts["waiting"] for counts in store.values())
        if waiting:
            return f"{waiting} events in outboxes"
        seen = {row["promotionId"]: row.get("version") for row in self.rows("active-promotions")}
        drift = [name for name, counts in store.items()
                 if counts["version"] != seen.get(name, 0)]  # fmt: skip
        if drift:
            return f"{len(drift)} promotions drift"
        unsettled = self.unsettled()
        return f"{len(unsettled)} conflicts" if unsettled else ""

    def unsettled(self) -> list[str]:
        """The conflicts that nobody has dealt with."""
        return [f"{row['promotionId']} {row['conflict']}" for row in self.rows("conflicts")
                if "settled" not in row]  # fmt: skip

    def store(self) -> dict[str, dict[str, Any]]:
        """Each promotion that the store has something of."""
        found: dict[str, dict[str, Any]] = {}
        with self._parts.store() as store:
            for key in store.scan_iter("seckill:{*}:promotion", count=1000):
                stored: Any = store.hgetall(key)
                name = key.removeprefix("seckill:{").removesuffix("}:promotion")
                holds = int(store.zcard(key.replace(":promotion", ":holds")))
                work = [f"is {field}" for field in ("recovering", "rebuild") if field in stored]
                work += [f"has {holds} holds"] if holds else []
                if "state" not in stored:
                    if work:
                        found[name] = _NOTHING | {"work": work}
                    continue
                customers: Any = store.hgetall(key.replace(":promotion", ":customers"))
                found[name] = {
                    "state": stored["state"],
                    **{count: int(stored[count]) for count in _COUNTS},
                    "waiting": 0,
                    "work": work,
                    "coupons": dict(_owned(customers)),
                }
            for key in store.scan_iter("seckill:{*}:outbox", count=1000):
                match = _OUTBOX.fullmatch(key)
                length = int(store.xlen(key))
                if match and length:
                    found.setdefault(match[1], dict(_NOTHING))["waiting"] = length
        return found

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table as plain values; none where there is no such table."""
        name = f"seckill-{STAGE}-{table}"
        if name not in self._tables.list_tables()["TableNames"]:
            return []
        pages = self._tables.get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
        return [_plain(row) for page in pages for row in page["Items"]]

    def gather(
        self, histories: list[Path], poison: dict[str, list[str]], ended: list[str]
    ) -> dict[str, Any]:
        """All of it, see checker.py."""
        return {
            "history": [line for path in histories for line in read_lines(path)],
            "journal": [json.loads(row["event"]) for row in self.rows("events")],
            "conflicts": [json.loads(row["event"]) for row in self.rows("conflicts")],
            "coupons": self.rows("coupons"),
            "active": self.rows("active-promotions"),
            "store": self.store(),
            "queues": self.depths(),
            "dead": {queue: self._dead(f"{queue}-dlq") for queue in QUEUES},
            "poison": poison,
            "unsettled": self.unsettled(),
            "ended": ended,
            "now": int(time.time() * 1000),
        }

    def _depth(self, name: str) -> int:
        answer = self._sqs.get_queue_attributes(QueueUrl=self.queues[name], AttributeNames=_DEPTHS)
        told: dict[str, str] = dict(answer["Attributes"].items())
        return sum(int(told.get(depth, 0)) for depth in _DEPTHS)

    def _dead(self, name: str) -> list[str]:
        """All of a dead-letter queue, also what somebody has just looked at."""
        bodies: list[str] = []
        until = time.monotonic() + _HIDDEN_S
        while len(bodies) < self._depth(name) and time.monotonic() < until:
            messages = self._sqs.receive_message(
                QueueUrl=self.queues[name], MaxNumberOfMessages=10, VisibilityTimeout=3600
            ).get("Messages", [])
            bodies += [message["Body"] for message in messages]
            if not messages:
                time.sleep(1)
        return bodies


def _owned(customers: dict[str, str]) -> Iterator[tuple[str, str]]:
    """`<number> <customer>` and state of each coupon in the store."""
    for customer, coupons in customers.items():
        for coupon in coupons.split(";"):
            number, _, _, letter, *_ = coupon.split(" ")
            yield f"{number} {customer}", _LETTERS.get(letter, letter)


def _plain(row: Any) -> dict[str, Any]:
    found = {}
    for name, typed in row.items():
        value = TypeDeserializer().deserialize(typed)
        found[name] = int(value) if isinstance(value, Decimal) else value
    return found
