"""What each function may do, and nothing else: one IAM policy file per stage and function.

`GRANTS` is the one source; `python -m infra.policies` writes `.chalice/policy-<stage>-<function>
.json` from it. Tables and queues are named, in any account and region; `*` stands only where AWS
knows no narrower resource: a function's network interfaces (the list is that of AWS's own policy
AWSLambdaVPCAccessExecutionRole), and X-Ray.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHALICE = Path(__file__).parent.parent / ".chalice"
STAGES = ("local", "dev", "prod")
QUEUES = ("journal", "coupons", "active-promotions", "events", "timers")

READ, BATCH, QUERY, SCAN = "GetItem", "BatchGetItem", "Query", "Scan"
PUT, UPDATE = "PutItem", "UpdateItem"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a function touches, by the names that the template gives.

    tables: actions by table, or by "<table>/<index>". sends, looks_at: queues. moves: queues
    whose dead letters it lists and sends on. takes: queues whose dead letters it takes. fed_by: the
    queue that Lambda feeds it from.
    """

    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sends: tuple[str, ...] = ()
    looks_at: tuple[str, ...] = ()
    moves: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    fed_by: str | None = None
    publishes: bool = False
    asks_for_topic: bool = False
    in_vpc: bool = False


# Who decides may find the broker away, and then keeps the event in the journal; who recovers
# settles conflicts and writes the read tables anew.
_JOURNAL = {"events": (READ, PUT, QUERY), "conflicts": (PUT, QUERY, UPDATE)}
_REBUILT = {"coupons": (PUT,), "active-promotions": (UPDATE,)}
_LIVE = {"promotions/live": (QUERY,)}


def _decides(tables: Mapping[str, tuple[str, ...]], **more: Any) -> Grant:
    """What every function needs that runs the scripts, publishes, and recovers."""
    return Grant(
        tables={**_JOURNAL, **_REBUILT, "promotions": (READ, UPDATE), **tables},
        sends=("events", "timers"),
        looks_at=("journal", "events"),
        takes=("journal", "events"),
        publishes=True,
        in_vpc=True,
        **more,
    )


GRANTS: dict[str, Grant] = {
    "api_handler": _decides(
        {
            "promotions": (READ, PUT, UPDATE, SCAN),
            "items": (READ, BATCH, PUT),
            "coupons": (READ, QUERY, PUT),
            "coupons/byNumber": (QUERY,),
            "active-promotions": (READ, BATCH, UPDATE),
            "active-promotions/byState": (QUERY,),
        },
        moves=QUEUES,
        asks_for_topic=True,
    ),
    "sweep": _decides(_LIVE),
    "wake": _decides({}, fed_by="timers"),
    "recover": _decides(_LIVE),
    "reconcile": _decides(
        {**_LIVE, "coupons/byNumber": (QUERY,), "active-promotions": (READ, UPDATE)}
    ),
    "rebuild": Grant({**_REBUILT, "promotions": (SCAN,), "events": (QUERY,)}),
    "project_journal": Grant(
        {"events": (READ, QUERY, PUT), "conflicts": (PUT,)}, sends=("timers",), fed_by="journal"
    ),
    "project_coupons": Grant({"coupons": (PUT,)}, fed_by="coupons"),
    "project_active_promotions": Grant(
        {"active-promotions": (UPDATE,)}, fed_by="active-promotions"
    ),
    "project_all": Grant(
        {**_REBUILT, "events": (READ, QUERY, PUT), "conflicts": (PUT,)},
        sends=("timers",),
        fed_by="events",
    ),
}

# What touches the store; the others would only wait for a network interface.
IN_VPC = tuple(name for name, grant in GRANTS.items() if grant.in_vpc)


_INTERFACES = (
    "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
)  # fmt: skip


def policy(stage: str, function: str) -> dict[str, Any]:
    """The policy document of one function of a stage."""
    grant = GRANTS[function]
    statements = [_logs(stage, function), *_tables(stage, grant), *_queues(stage, grant)]
    topic = f"arn:aws:sns:*:*:seckill-{stage}-events"
    actions = ["sns:Publish"] * grant.publishes + ["sns:GetTopicAttributes"] * grant.asks_for_topic
    if actions:
        statements.append(_allow(actions, [topic]))
    statements.append(_allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"]))
    if grant.in_vpc:
        statements.append(_allow(_INTERFACES, ["*"]))
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(actions: Iterable[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": sorted(actions), "Resource": sorted(resources)}


def function_name(stage: str, function: str) -> str:
    """The name that Chalice gives: the routes' function is named after app and stage alone."""
    return f"seckill-{stage}" if function == "api_handler" else f"seckill-{stage}-{function}"


def log_group(stage: str, function: str) -> str:
    """Where Lambda keeps what a function says."""
    return f"/aws/lambda/{function_name(stage, function)}"


def _logs(stage: str, function: str) -> dict[str, Any]:
    # The group itself is made by the deployment, with its retention.
    group = f"arn:aws:logs:*:*:log-group:{log_group(stage, function)}:*"
    return _allow(["logs:CreateLogStream", "logs:PutLogEvents"], [group])


def _tables(stage: str, grant: Grant) -> list[dict[str, Any]]:
    statements = []
    for name, actions in sorted(grant.tables.items()):
        table, _, index = name.partition("/")
        arn = f"arn:aws:dynamodb:*:*:table/seckill-{stage}-{table}"
        arn += f"/index/{index}" if index else ""
        statements.append(_allow([f"dynamodb:{action}" for action in actions], [arn]))
    return statements


def _queues(stage: str, grant: Grant) -> list[dict[str, Any]]:
    actions: dict[str, set[str]] = {}

    def allow(queue: str, *wanted: str) -> None:
        actions.setdefault(queue, set()).update(f"sqs:{action}" for action in wanted)

    for queue in grant.sends:
        allow(queue, "SendMessage")
    for queue in grant.looks_at:
        allow(queue, "GetQueueUrl", "GetQueueAttributes")
    for queue in grant.moves:
        allow(queue, "GetQueueUrl", "SendMessage")
    for queue in {*grant.moves, *grant.takes}:
        allow(f"{queue}-dlq", "GetQueueUrl", "GetQueueAttributes", "ReceiveMessage",
              "DeleteMessage")  # fmt: skip
    if grant.fed_by:
        # The first three are Lambda's, which polls by the function's role.
        allow(grant.fed_by, "ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl")
        allow(f"{grant.fed_by}-dlq", "GetQueueUrl", "SendMessage")
    return [
        _allow(wanted, [f"arn:aws:sqs:*:*:seckill-{stage}-{queue}"])
        for queue, wanted in sorted(actions.items())
    ]


def files() -> dict[str, str]:
    """The text of every policy file by its name."""
    return {
        f"policy-{stage}-{function}.json": json.dumps(policy(stage, function), indent=2) + "\n"
        for stage in STAGES
        for function in GRANTS
    }


def main() -> int:
    """Write the policy files."""
    for name, text in files().items():
        (CHALICE / name).write_text(text)
    print(f"{len(files())} policies written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
