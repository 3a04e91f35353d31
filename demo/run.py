"""A crowd goes for a few coupons on a local cloud; then every one of them is verified."""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo.figures import figures, payment_figures
from demo.history import Attempt, read_history, read_settlements
from demo.report import html_report
from demo.sale import REHEARSED, Sale, SaleFailed, open_sale, rehearse, wait_for
from demo.verdict import Verdict
from demo.verify import verify
from demo.verify_paid import PaidRun, PaidVerdict, verify_paid
from localstack.cloud import ROOT, Options, local_cloud
from localstack.processes import Child, LocalCloudError

FOLDER = ROOT / ".local" / "demo"
HISTORY, SETTLEMENTS = FOLDER / "history.jsonl", FOLDER / "settlements.jsonl"
BUILD = ROOT / "build"
SIZES = {"customers": 1_000_000, "coupons": 10_000_000, "users": 1000, "workers": 16}
MOST_HOLD_S = 10
SETTLED_WITHIN_S = 30
REDRAW_S = 0.25
BAR = 30
SHOWN_VIOLATIONS = 12


def main() -> int:
    """Run the demo; returns 0 only if every coupon is accounted for."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--customers", type=int, default=30_000, help="default 30000")
    parser.add_argument("--coupons", type=int, default=200, help="default 200")
    parser.add_argument("--users", type=int, default=64, help="customers at a time, default 64")
    parser.add_argument("--workers", type=int, default=2, help="HTTP processes, default 2")
    parser.add_argument("--tamper", action="store_true",
                        help="delete one coupon before verifying, to see it found")  # fmt: skip
    parser.add_argument("--hold", default="0", metavar="SECONDS",
                        help="time to pay in, 0 to 10; default 0: nothing to pay")  # fmt: skip
    parser.add_argument("--pay", default="1", metavar="CHANCE",
                        help="with a hold: the chance that a winner pays, default 1")  # fmt: skip
    arguments = parser.parse_args()
    if fault := _fault(arguments):
        print(f"seckill: {fault}", file=sys.stderr)
        return 1
    arguments.hold, arguments.pay = int(float(arguments.hold)), float(arguments.pay)
    options = Options(
        workers=arguments.workers,
        redis_url=os.environ.get("REDIS_URL"),
        aws_endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
        folder=FOLDER,
    )
    try:
        return _run(arguments, options)
    except (LocalCloudError, SaleFailed) as error:
        unfinished = "\n" if sys.stdout.isatty() else ""
        print(f"{unfinished}seckill: {error}", file=sys.stderr)
        return 1


def _fault(arguments: argparse.Namespace) -> str | None:
    """What is wrong with the arguments, if anything is."""
    for name, most in SIZES.items():
        given = getattr(arguments, name)
        if not 1 <= given <= most:
            return f"{name} must be from 1 to {most:,}, not {given:,}"
    hold_s, pay = _number(arguments.hold), _number(arguments.pay)
    if hold_s not in range(MOST_HOLD_S + 1):
        return f"hold must be whole seconds from 0 to {MOST_HOLD_S}, not {arguments.hold}"
    if not 0 < pay <= 1:
        return f"pay must be above 0 and up to 1, not {arguments.pay}"
    if pay < 1 and not hold_s:
        return f"pay {arguments.pay} needs a hold of 1 to {MOST_HOLD_S} seconds to pay in"
    return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _run(arguments: argparse.Namespace, options: Options) -> int:
    customers, coupons = arguments.customers, arguments.coupons
    hold_s = arguments.hold
    terms = f", to be paid within {hold_s} s" if hold_s else ""
    print(f"seckill: {customers:,} customers go for {coupons:,} coupons{terms}")
    started = time.monotonic()
    _say("local cloud", "starting", end="")
    with local_cloud(options) as cloud:
        _say("local cloud", f"ready after {time.monotonic() - started:.1f} s at {cloud.url}")
        _say("rehearsal", f"{REHEARSED} coupons sold and readable in {rehearse(cloud):.1f} s")
        sale = open_sale(cloud, coupons, hold_s)
        _say("promotion", f"{sale.promotion_id} is on sale")
        attempts = _let_the_crowd_in(sale, arguments)
        if hold_s:
            _settle(lambda: sale.is_settled(customers, coupons))
        else:
            granted = sum(attempt.granted for attempt in attempts)
            _settle(lambda: sale.has_journaled(granted, customers, coupons))
        if arguments.tamper:
            _say("tampering", f"deleted coupon {sale.delete_a_coupon()} from the table")
        stored, journal, available = sale.coupons(), sale.journal(), sale.available()
    verdict: Verdict
    paid: dict[str, Any] = {}
    if hold_s:
        settlements = read_settlements(SETTLEMENTS)
        verdict = verify_paid(
            PaidRun(customers, coupons, attempts, settlements, stored, journal, available)
        )
        paid = {
            "hold_seconds": hold_s,
            "pay": arguments.pay,
            **payment_figures(settlements),
        }
    else:
        verdict = verify(customers, coupons, attempts, stored, journal, available)
    run = {
        **asdict(verdict),
        **figures(attempts),
        **paid,
        "promotion_id": sale.promotion_id,
        "users": arguments.users,
        "workers": arguments.workers,
        "processors": os.cpu_count(),
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "total_seconds": round(time.monotonic() - started, 1),
    }
    _print_table(run)
    BUILD.mkdir(exist_ok=True)
    _write(BUILD / "demo.json", json.dumps(run, indent=2) + "\n")
    _write(BUILD / "demo.html", html_report(run, attempts, journal))
    _print_verdict(verdict)
    return 0 if verdict.passed else 1


def _let_the_crowd_in(sale: Sale, arguments: argparse.Namespace) -> list[Attempt]:
    """Run the crowd in a process of its own, and show how far it is; returns its history.

    Raises:
        LocalCloudError: the crowd or a part of the cloud ended before its time.
    """
    customers = arguments.customers
    HISTORY.touch()
    command: list[str | Path] = [sys.executable, "-m", "demo.crowd", "--url", sale.cloud.url,
               "--promotion", sale.promotion_id, "--customers", str(customers),
               "--users", str(min(arguments.users, customers)), "--history", HISTORY]  # fmt: skip
    if arguments.hold:
        command += ["--hold", str(arguments.hold), "--pay", str(arguments.pay),
                    "--coupons", str(arguments.coupons), "--settlements", SETTLEMENTS]  # fmt: skip
    crowd = Child("crowd", command, sale.cloud.environ, FOLDER)
    started = time.monotonic()
    served = 0
    try:
        with HISTORY.open("rb") as lines:
            while (code := crowd.process.poll()) is None:
                time.sleep(REDRAW_S)
                served += sum(1 for _ in iter(lines.readline, b""))
                _draw(served, customers, time.monotonic() - started)
                sale.cloud.check()
        if code:
            crowd.check()
    finally:
        crowd.stop()
    attempts = read_history(HISTORY)
    _draw(len(attempts), customers, time.monotonic() - started, end="\n")
    return attempts


def _draw(served: int, customers: int, seconds: float, end: str = "") -> None:
    """The crowd's progress; where nobody watches, only the last state."""
    if end or sys.stdout.isatty():
        bar = ("#" * min(BAR, BAR * served // customers)).ljust(BAR, ".")
        again = f" and {served - customers:,} again" if served > customers else ""
        done = f"{min(served, customers):,} of {customers:,}{again}"
        _say("crowd", f"[{bar}] {done} in {seconds:.1f} s", end=end)


def _settle(settled: Callable[[], bool]) -> None:
    """Wait until the tables have what the answers promise; what they lack then is a finding."""
    started = time.monotonic()
    if wait_for(settled, SETTLED_WITHIN_S):
        _say("read tables", f"settled {time.monotonic() - started:.1f} s after the crowd had gone")
    else:
        _say("read tables", f"not settled after {SETTLED_WITHIN_S} s: verifying what is there")


def _print_table(run: Mapping[str, Any]) -> None:
    print()
    for left, right in (
        (("granted", run["granted"]), ("grabs per second", f"{run['grabs_per_s']:,.0f}")),
        (("stored", run["stored"]), ("answer p50", f"{run['p50_ms']:,.0f} ms")),
        (("journaled", run["journaled"]), ("answer p99", f"{run['p99_ms']:,.0f} ms")),
        (("oversold", run["oversold"]), ("readable p50", f"{run['visible_p50_ms']:,.0f} ms")),
        (("lost", run["lost"]), ("readable p99", f"{run['visible_p99_ms']:,.0f} ms")),
        (("duplicates", run["duplicates"]), ("sold out after", f"{run['last_coupon_s']:,.2f} s")),
        (("errors", run["errors"]), ("crowd served in", f"{run['seconds']:,.1f} s")),
    ):
        print(f"  {left[0]:<12}{left[1]:>10,}    {right[0]:<16}{right[1]:>12}")
    if "paid" in run:
        for left, right in (
            (("paid", run["paid"]), ("released", f"{run['released']:,}")),
            (("stored paid", run["stored_paid"]), ("given back", f"{run['given_back']:,}")),
            (("journ. paid", run["journaled_paid"]), ("resold", f"{run['resold']:,}")),
            (("paid late", run["late"]), ("came again", f"{run['returned']:,}")),
            (("refunds due", run["refunds"]), ("payment p99", f"{run['payment_p99_ms']:,.0f} ms")),
        ):
            print(f"  {left[0]:<12}{left[1]:>10,}    {right[0]:<16}{right[1]:>12}")
        settlements = ", ".join(f"{n:,} x {answer}" for answer, n in run["settlements"].items())
        print(f"  settlements {settlements}")
    answers = ", ".join(f"{count:,} x {answer}" for answer, count in run["answers"].items())
    print(f"  answers     {answers}\n")


def _print_verdict(verdict: Verdict) -> None:
    for violation in verdict.violations[:SHOWN_VIOLATIONS]:
        print(f"  violation: {violation}")
    if len(verdict.violations) > SHOWN_VIOLATIONS:
        print(f"  and {len(verdict.violations) - SHOWN_VIOLATIONS} more, see build/demo.json")
    if isinstance(verdict, PaidVerdict) and verdict.passed:
        print(f"PASSED: {verdict.paid:,} of {verdict.stock:,} coupons paid once,"
              f" {verdict.granted:,} granted, {verdict.released:,} released; each stored and"
              " journaled; report in build/demo.html")  # fmt: skip
    elif verdict.passed:
        print(f"PASSED: {verdict.granted:,} of {verdict.stock:,} coupons granted, each stored and"
              " journaled once; report in build/demo.html")  # fmt: skip
    else:
        print(f"FAILED: {len(verdict.violations)} violations; report in build/demo.html")


def _say(what: str, text: str, end: str = "\n") -> None:
    """One line of what is going on; on a terminal it replaces an unfinished one."""
    if sys.stdout.isatty():
        print(f"\r\033[K  {what:<12}{text}", end=end, flush=True)
    elif end:
        print(f"  {what:<12}{text}", flush=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
