"""How each kind of fault is done, and undone."""

import heapq
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.parts import CONSUMERS, SERVERS, STORE, SWEEP, WATCH_S, Parts
from chaos.schedule import Fault
from localstack.cloud import store_answers
from localstack.provision import session

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

CLOCK_OFF_S = 600
THROTTLED_SHARE = 0.6
LOST_SHARE = 0.25
BROKER = ("refused", "reset", "hang", "500", "garbled", "deaf")
# A victim that is down just now is tried again a little later, so many times.
AGAIN_S = 0.4
TRIES = 15
POSTMAN_S = 0.15
POSTMAN_DELAY_S = 4
POSTMAN_HOLDS_S = 60
QUEUES = ("journal", "coupons", "active-promotions", "events", "timers")
POISON = (
    "no JSON at all, {mark}",
    '["no", "object", "{mark}"]',
    '{{"type": "CouponGrabbed", "poison": "{mark}"}}',
    '{{"type": "CouponPaid", "promotionId": "p", "version": "one", "at": 1, "poison": "{mark}"}}',
    '{{"poison": "{mark}"}}',
)


class Injector:
    """Does faults at their time, and undoes them. One thread; `tick` has to be called often."""

    def __init__(self, parts: Parts, queues: dict[str, str], log: Path, seed: int) -> None:
        """`queues`: name -> URL. Each deed is written to `log`."""
        self._parts = parts
        self._queues = queues
        self._log = log
        self._rng = random.Random(f"{seed} injector")
        self._sqs: SQSClient = session(parts.aws_url).client("sqs")
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._pushed = 0
        self._started = time.monotonic()
        self.done: Counter[str] = Counter()
        self.poison: defaultdict[str, list[str]] = defaultdict(list)

    def plan(self, faults: list[Fault]) -> None:
        """Have all of `faults` done, counted from now."""
        self._started = time.monotonic()
        for fault in faults:
            self._after(fault.at_s, lambda fault=fault: self._do(fault, TRIES))  # type: ignore[misc]

    @property
    def busy(self) -> bool:
        """True while faults are to be done or undone."""
        return bool(self._due)

    def tick(self) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        self._pushed += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._pushed, do))

    def _do(self, fault: Fault, tries: int) -> None:
        kinds: dict[str, Callable[[Fault], bool]] = {
            "http": lambda fault: self._kill(SERVERS[fault.variant % 2], fault),
            "consumers": lambda fault: self._kill(CONSUMERS[fault.variant % 2], fault),
            "sweep": lambda fault: self._kill(SWEEP, fault),
            "store": lambda fault: self._kill(STORE, fault),
            "clock": self._clock,
            "wipe": self._wipe,
            "snapshot": self._snapshot,
            "broker": self._broker,
            "tables": self._tables,
            "replies": self._replies,
            "messages": self._messages,
            "poison": self._poison,
            "statement": self._statement,
        }
        if kinds[fault.kind](fault):
            self.done[fault.kind] += 1
            self._note(f"{fault.kind} {fault.variant}", fault.lasts_s)
        elif tries > 1:
            self._after(AGAIN_S, lambda: self._do(fault, tries - 1))

    def _note(self, what: str, lasts_s: float = 0.0) -> None:
        line = {"at": int(time.time() * 1000), "s": round(time.monotonic() - self._started, 2),
                "what": what, "lasts_s": round(lasts_s, 2)}  # fmt: skip
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _kill(self, name: str, fault: Fault) -> bool:
        if name not in self._parts.running:
            return False
        self._parts.kill(name)
        pause_s = fault.lasts_s / 2 if name == STORE else fault.lasts_s
        self._after(pause_s, lambda: self._parts.start(name))
        return True

    def _clock(self, fault: Fault) -> bool:
        victims = (*SERVERS, *CONSUMERS, SWEEP)
        name = victims[fault.variant % len(victims)]
        if name not in self._parts.running:
            return False
        self._parts.kill(name)
        off_s = CLOCK_OFF_S if fault.variant % 3 else -CLOCK_OFF_S
        self._parts.start(name, off_s)
        return True

    def _statement(self, fault: Fault) -> bool:
        victims = (*CONSUMERS, SWEEP)
        name = victims[fault.variant % len(victims)]
        if name not in self._parts.running:
            return False
        self._parts.kill(name)
        self._parts.mortal[name] = f"{fault.at_s} {fault.variant}"
        self._parts.start(name)
        return True

    def _up(self) -> bool:
        """True when the store itself can be talked to."""
        return STORE in self._parts.running and store_answers(self._parts.store_url)

    def _wipe(self, _: Fault) -> bool:
        if not self._up():
            return False
        with self._parts.store() as store:
            store.flushall()
        return True

    def _snapshot(self, fault: Fault) -> bool:
        if not self._up():
            return False
        taken_s = time.monotonic()
        snapshot = self._parts.snapshot()
        self._after(fault.lasts_s, lambda: self._restore(snapshot, taken_s, TRIES))
        return True

    def _restore(self, snapshot: Path, taken_s: float, tries: int) -> None:
        if time.monotonic() - taken_s > WATCH_S / 2:
            # It may have a sale that nobody watches any more: no fail-over lags behind that far.
            self._note("snapshot too old")
            return
        if not self._up():
            if tries > 1:
                self._after(AGAIN_S, lambda: self._restore(snapshot, taken_s, tries - 1))
            return
        self._parts.kill(STORE)
        self._parts.restore(snapshot)
        self._parts.start(STORE)
        self._note("snapshot restored")

    def _broker(self, fault: Fault) -> bool:
        self._parts.control(broker=BROKER[fault.variant % len(BROKER)])
        self._after(fault.lasts_s, lambda: self._parts.control(broker=""))
        return True

    def _tables(self, fault: Fault) -> bool:
        self._parts.control(tables=THROTTLED_SHARE)
        self._after(fault.lasts_s, lambda: self._parts.control(tables=0.0))
        return True

    def _replies(self, fault: Fault) -> bool:
        self._parts.control(replies=LOST_SHARE, silent=bool(fault.variant % 2))
        self._after(fault.lasts_s, lambda: self._parts.control(replies=0.0))
        return True

    def _messages(self, fault: Fault) -> bool:
        self._post(time.monotonic() + fault.lasts_s)
        return True

    def _post(self, until: float) -> None:
        """Take a few messages and send each again one to three times, later, in another order."""
        queue = self._rng.choice(QUEUES)
        url = self._queues[queue]
        taken = self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=POSTMAN_HOLDS_S
        ).get("Messages", [])
        copies = [m["Body"] for m in taken for _ in range(self._rng.randint(1, 3))]
        self._rng.shuffle(copies)
        for body in copies:
            delay_s = self._rng.randint(0, POSTMAN_DELAY_S)
            self._sqs.send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay_s)
        for message in taken:
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        put = self.poison[queue]
        repeated = [body for body in copies if body in put]
        for body in (message["Body"] for message in taken if message["Body"] in put):
            put.remove(body)
        put += repeated
        if time.monotonic() < until:
            self._after(POSTMAN_S, lambda: self._post(until))

    def _poison(self, fault: Fault) -> bool:
        for position, queue in enumerate(QUEUES):
            mark = f"{fault.variant} {queue} {len(self.poison[queue])}"
            body = POISON[(fault.variant + position) % len(POISON)].format(mark=mark)
            self._sqs.send_message(QueueUrl=self._queues[queue], MessageBody=body)
            self.poison[queue].append(body)
        return True
