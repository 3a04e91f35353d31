"""`python -m e2e`: deploy what ships to an emulator, sell through it, redeploy while it sells."""

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from e2e import cloud as clouds
from e2e.cloud import Cloud
from infra.faults import DeployFault
from infra.http import Sale, expect, within
from infra.package import ROOT
from infra.smoke import smoke
from localstack.lambdas import scheduled_event
from localstack.processes import LocalCloudError

_CLIENTS = 4
_COUPONS = 20
_YOURS = {200, 201, 202}
# Each function's first batch waits for a cold start, one after the other, on a busy machine.
_PATIENCE_S = 150.0

Say = Callable[[str], None]


def main() -> int:
    """Run every step; 1 if one fails."""
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    try:
        with clouds.started() as cloud:
            _run(cloud, say)
    except (DeployFault, LocalCloudError) as fault:
        say(str(fault))
        print(f"FAILED, logs are in {clouds.LOGS.relative_to(ROOT)}")
        return 1
    print(f"PASSED in {time.monotonic() - began:.0f} s")
    return 0


def _run(cloud: Cloud, say: Say) -> None:
    say("a store and an AWS emulator run, IAM is enforced")
    project = clouds.new_project(cloud)
    clouds.provision(cloud, project, say)
    sale = clouds.deploy(cloud, project, say)
    for line in smoke(sale, _PATIENCE_S):
        say(line)
    _sell_out_with_payment(sale, say)
    _poison(cloud, sale, say)
    _redeploy(cloud, project, sale, say)
    _invoke_the_others(cloud, say)
    _nobody_was_refused(cloud, say)


def _create(sale: Sale, coupons: int, hold_seconds: int = 0) -> str:
    now = sale.ask("/query/time")[1]["now"]
    offer = {"numberOfCoupons": coupons, "discount": 0.5, "publishTime": now,
             "finishTime": now + 3_600_000, "holdSeconds": hold_seconds}  # fmt: skip
    status, promotion = sale.ask("/admin/promotions", offer)
    expect("create", status, 201)
    return str(promotion["promotionId"])


def _grab(sale: Sale, promotion_id: str, customer: str) -> tuple[int, Any]:
    """Grab; who is not answered, because a function starts or is replaced, asks again."""
    grab = {"promotionId": promotion_id, "customerId": customer}
    return _until_answered(sale, "/command/coupons", grab)


def _until_answered(sale: Sale, path: str, body: Any) -> tuple[int, Any]:
    answer = sale.ask(path, body)
    deadline = time.monotonic() + _PATIENCE_S
    while not 200 <= answer[0] < 500 and time.monotonic() < deadline:  # noqa: PLR2004
        time.sleep(0.5)
        answer = sale.ask(path, body)
    return answer


def _states(sale: Sale, promotion_id: str) -> dict[int, str]:
    """State by number, as the read tables have it."""
    _, coupons = sale.ask(f"/query/promotions/{promotion_id}/coupons?limit=100")
    return {coupon["number"]: coupon["state"] for coupon in coupons}


def _agree(sale: Sale, promotion_id: str) -> None:
    audit = f"/admin/promotions/{promotion_id}/audit"
    within("audit", lambda: sale.ask(audit), (200, []), _PATIENCE_S)


def _sell_out_with_payment(sale: Sale, say: Say) -> None:
    promotion_id = _create(sale, _COUPONS, hold_seconds=600)
    customers = [f"customer-{number}" for number in range(_COUPONS + 10)]
    with ThreadPoolExecutor(_CLIENTS) as crowd:
        answers = list(crowd.map(lambda who: _grab(sale, promotion_id, who), customers))
    won = [coupon for status, coupon in answers if status in _YOURS]
    expect("coupons granted", len(won), _COUPONS)
    refusals = [body.get("code", body) for status, body in answers if status not in _YOURS]
    expect("refusals", refusals, ["SOLD_OUT"] * 10)
    say(f"grab: {_COUPONS} of {len(customers)} customers won, the others are told SOLD_OUT")

    def pay(coupon: dict[str, Any]) -> int:
        path = f"/command/coupons/{coupon['couponId']}/payment"
        return _until_answered(sale, path, {"customerId": coupon["customerId"]})[0]

    with ThreadPoolExecutor(_CLIENTS) as crowd:
        expect("payments", set(crowd.map(pay, won)), {200})
    paid = dict.fromkeys(range(1, _COUPONS + 1), "PAID")
    within("tables", lambda: _states(sale, promotion_id), paid, _PATIENCE_S)
    _agree(sale, promotion_id)
    say(f"pay: {_COUPONS} coupons are PAID in the tables, the audit finds nothing")


def _poison(cloud: Cloud, sale: Sale, say: Say) -> None:
    sqs = cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=f"seckill-{clouds.STAGE}-coupons")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="this is no event")
    wanted = {"count": 1, "bodies": ["this is no event"]}
    dead = lambda: sale.ask("/admin/dead-letters")[1]["coupons"]  # noqa: E731
    within("dead letters", dead, wanted, _PATIENCE_S)
    say("poison: the message that can't be read is a dead letter, the operator sees it")


def _redeploy(cloud: Cloud, project: Path, sale: Sale, say: Say) -> None:
    promotion_id = _create(sale, 1000)
    answers: list[tuple[int, Any]] = []
    done = threading.Event()

    def buy() -> None:
        while not done.is_set():
            answers.append(_grab(sale, promotion_id, f"buyer-{len(answers)}"))
            done.wait(0.2)

    buyer = threading.Thread(target=buy)
    buyer.start()
    try:
        _again(cloud, project, sale, answers, say)
    finally:
        done.set()
        buyer.join()
    expect("answers during the deployment", {status for status, _ in answers} - _YOURS, set())
    sold = {coupon["number"] for _, coupon in answers}
    expect("coupons sold twice", len(answers) - len(sold), 0)
    within("tables", lambda: set(_states(sale, promotion_id)), set(sorted(sold)[:100]), _PATIENCE_S)
    _agree(sale, promotion_id)
    say(f"redeploy: {len(sold)} coupons were sold while it went on; none is lost or doubled")


def _again(
    cloud: Cloud, project: Path, sale: Sale, answers: list[tuple[int, Any]], say: Say
) -> None:
    """Deploy a changed program, by the same steps, then see a few more grabs of it."""
    app = project / "app.py"
    app.write_text(app.read_text() + "\n# The second deployment.\n")
    clouds.provision(cloud, project, say)
    second = clouds.deploy(cloud, project, say)
    expect("the address after deploying again", second.url, sale.url)
    code = cloud.client("lambda").get_function(FunctionName=clouds.function(cloud, "APIHandler"))
    say(f"the second deployment is there, {code['Configuration']['CodeSize'] / 1e6:.1f} MB")
    so_far = len(answers)
    within("grabs go on", lambda: len(answers) > so_far + 5, wanted=True, seconds=_PATIENCE_S)


def _invoke_the_others(cloud: Cloud, say: Say) -> None:
    for name in ("Sweep", "Recover", "Reconcile", "Rebuild"):
        event = json.dumps(scheduled_event("sweep") if name == "Sweep" else {})
        answer = cloud.client("lambda").invoke(
            FunctionName=clouds.function(cloud, name), Payload=event.encode()
        )
        text = answer["Payload"].read().decode()
        expect(f"{name} ({text[:200]})", answer.get("FunctionError"), None)
    say("sweep, recover, reconcile and rebuild run by hand")


def _nobody_was_refused(cloud: Cloud, say: Say) -> None:
    logs = cloud.client("logs")
    seen = []
    for group in logs.describe_log_groups()["logGroups"]:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        seen += [event["message"] for page in pages for event in page["events"]]
    refused = [text[:300] for text in seen if "not authorized" in text or "AccessDenied" in text]
    expect("calls that a policy refused", refused[:3], [])
    say(f"policies: none of the functions was refused anything, in {len(seen):,} lines of log")


if __name__ == "__main__":
    sys.exit(main())
