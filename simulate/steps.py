"""The steps of a history, and a history as a script that a person reads and a program repeats.

A step is a small value. It names coupons and messages by their place (the customer's last coupon,
the oldest message), so that it keeps its meaning when other steps are taken out. A step that has
nothing to do does nothing.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

FaultKind = Literal["dies", "fails", "unheard", "again", "waits"]
Queue = Literal["journal", "coupons", "active"]


class InvalidScript(ValueError):
    """A line of a script is not a step."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at a step's call number `at` to the store, the tables, the broker or a timer.

    dies: the process ends before the call. fails: the call is not done and raises. unheard: it is
    done and raises. again: it is done, its reply is lost and the client library sends it again;
    waits: the process is suspended before the call. The next `steps` steps of the history happen
    between the two sendings, or while the process is suspended. A step with fewer calls than `at`
    is done, and with `dies` its answer is lost.
    """

    kind: FaultKind
    at: int
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; its process may meet one fault."""

    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Sale(Step):
    """The operator creates the promotion. The first step of every history.

    hold_s of 0: every grab is final. opens_s of 0: it opens at once. broker: "sns" feeds each
    projection from its own queue, "sqs" all of them from one. order: in which a queue delivers,
    "fifo", "lifo" or "shuffled".
    """

    stock: int = 1
    limit: int = 1
    hold_s: int = 0
    opens_s: int = 0
    lasts_s: int = 600
    price: bool = False
    broker: Literal["sns", "sqs"] = "sns"
    order: Literal["fifo", "lifo", "shuffled"] = "fifo"


@dataclass(frozen=True, slots=True)
class CreateAgain(Step):
    """The operator sends the request that created the promotion again."""


@dataclass(frozen=True, slots=True)
class Grab(Step):
    """A customer wants a coupon; `key` is the Idempotency-Key."""

    who: str = "alice"
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Pay(Step):
    """The payment of a coupon is confirmed: the `nth` that the customer was told of."""

    who: str = "alice"
    nth: int = -1
    reference: str | None = "visa-1"


@dataclass(frozen=True, slots=True)
class GiveBack(Step):
    """A customer gives back the `nth` coupon that they were told of."""

    who: str = "alice"
    nth: int = -1


@dataclass(frozen=True, slots=True)
class Restock(Step):
    """The operator adds units; `key` is the Idempotency-Key."""

    add: int = 1
    key: str | None = "monday"


@dataclass(frozen=True, slots=True)
class Edit(Step):
    """The operator replaces the offer, which is possible until the start. Times from now."""

    stock: int = 1
    limit: int = 1
    hold_s: int = 0
    opens_s: int = 0
    lasts_s: int = 600


@dataclass(frozen=True, slots=True)
class Cancel(Step):
    """The operator cancels the promotion."""


@dataclass(frozen=True, slots=True)
class Time(Step):
    """So many milliseconds pass."""

    ms: int = 1


@dataclass(frozen=True, slots=True)
class Sweep(Step):
    """The scheduled sweep runs."""


@dataclass(frozen=True, slots=True)
class Wake(Step):
    """The oldest timer that is due is delivered."""


@dataclass(frozen=True, slots=True)
class Recover(Step):
    """The operator asks for a recovery."""


@dataclass(frozen=True, slots=True)
class Reconcile(Step):
    """The operator has the promotion audited and mended."""


@dataclass(frozen=True, slots=True)
class Consumer(Step):
    """From now on a queue's consumer runs, has stopped (messages wait), or fails (dead letters)."""

    queue: Queue = "journal"
    mode: Literal["runs", "stopped", "fails"] = "runs"


@dataclass(frozen=True, slots=True)
class Deliver(Step):
    """A queue delivers its `nth` waiting message, although its consumer has stopped."""

    queue: Queue = "journal"
    nth: int = 0


@dataclass(frozen=True, slots=True)
class Repeat(Step):
    """A queue delivers a message that it has delivered before."""

    queue: Queue = "journal"
    nth: int = -1


@dataclass(frozen=True, slots=True)
class Redrive(Step):
    """The operator sends all dead letters back to their queues."""


@dataclass(frozen=True, slots=True)
class Broker(Step):
    """From now on the broker works, is away, takes one event of each batch, or never answers."""

    mode: Literal["works", "away", "partly", "silent"] = "works"


@dataclass(frozen=True, slots=True)
class Tables(Step):
    """From now on a table is available or not; "journal" is the journal and its conflicts."""

    which: Literal["journal", "promotions", "all"] = "all"
    available: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot(Step):
    """The store's keys are remembered: a replica has got that far."""


@dataclass(frozen=True, slots=True)
class RollBack(Step):
    """The store's keys are those of the `nth` snapshot again.

    by: a fail-over, which gives the store a new history; or a hand, which leaves the history.
    """

    nth: int = -1
    by: Literal["fail-over", "hand"] = "fail-over"


@dataclass(frozen=True, slots=True)
class FailOver(Step):
    """The store is in a new history and has lost nothing."""


@dataclass(frozen=True, slots=True)
class Wipe(Step):
    """The store loses its keys, or the key of one part."""

    part: Literal["all", "promotion", "customers"] = "all"


STEPS: dict[str, type[Step]] = {
    cls.__name__: cls
    for cls in (
        Sale, CreateAgain, Grab, Pay, GiveBack, Restock, Edit, Cancel, Time, Sweep, Wake, Recover,
        Reconcile, Consumer, Deliver, Repeat, Redrive, Broker, Tables, Snapshot, RollBack, FailOver,
        Wipe,
    )
}  # fmt: skip


def write_step(step: Step | Fault) -> str:
    """A step as a call; values that are the defaults are left out."""
    arguments = []
    for field in fields(step):
        value = getattr(step, field.name)
        if value != field.default:
            text = write_step(value) if isinstance(value, Fault) else repr(value)
            arguments.append(f"{field.name}={text}")
    return f"{type(step).__name__}({', '.join(arguments)})"


def write_script(steps: Iterable[Step]) -> str:
    """A history as a script: one step on each line."""
    return "".join(f"{write_step(step)}\n" for step in steps)


def read_script(text: str) -> list[Step]:
    """The history in a script.

    Raises:
        InvalidScript: a line is not a step.
    """
    try:
        lines = ast.parse(text).body
    except SyntaxError as error:
        raise InvalidScript(str(error)) from error
    return [_read_step(line) for line in lines]


def _read_step(line: ast.stmt) -> Step:
    call = line.value if isinstance(line, ast.Expr) else None
    made = _read_call(call, dict(STEPS))
    if not isinstance(made, Step):
        raise InvalidScript(ast.unparse(line))
    return made


def _read_call(node: ast.expr | None, classes: dict[str, Any]) -> Any:
    if (
        not isinstance(node, ast.Call)
        or not isinstance(node.func, ast.Name)
        or node.func.id not in classes
        or node.args
    ):
        raise InvalidScript(ast.unparse(node) if node else "not a call")
    arguments = {}
    for keyword in node.keywords:
        if keyword.arg == "fault":
            arguments["fault"] = _read_call(keyword.value, {"Fault": Fault})
        else:
            arguments[str(keyword.arg)] = ast.literal_eval(keyword.value)
    try:
        return classes[node.func.id](**arguments)
    except TypeError as error:
        raise InvalidScript(str(error)) from error


def with_fault(step: Step, fault: Fault | None) -> Step:
    """The same step, and its process meets this fault."""
    return replace(step, fault=fault)
