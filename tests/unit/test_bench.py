"""The measurements' own arithmetic, and the loader that stands in for wrk."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from bench.__main__ import table
from bench.load import Load, Target, load
from bench.promotions import customers, expect
from bench.punctuality import Due, lateness
from bench.rows import InvalidMeasurement, Row, compare, take_turns


def test_sides_take_turns_and_swap_places_each_round() -> None:
    seen: list[str] = []

    def side(name: str) -> float:
        seen.append(name)
        return float(len(seen))

    figures = take_turns({"a": lambda: side("a"), "b": lambda: side("b")}, rounds=2)
    assert "".join(seen) == "ba" + "ab" + "ba"  # the first round only warms up
    assert figures == {"a": [3, 6], "b": [4, 5]}


def test_the_ratio_is_the_median_of_the_rounds_not_the_ratio_of_the_medians() -> None:
    row = compare({"a": [1, 2, 9], "b": [1, 4, 3]}, "a", "x", against="b", at_least=0.5)
    assert (row.value, row.against_value, row.ratio, row.rounds) == (2, 3, 1, 3)


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row(name="r", value=1, unit="x"), True),
        (Row(name="r", value=9, unit="x", ratio=0.5, at_least=0.5), True),
        (Row(name="r", value=9, unit="x", ratio=0.49, at_least=0.5), False),
        (Row(name="r", value=0, unit="bytes", at_most=0), True),
        (Row(name="r", value=0.1, unit="bytes", at_most=0), False),
    ],
)
def test_a_target_is_for_the_ratio_or_else_for_the_value(row: Row, *, met: bool) -> None:
    assert row.met is met
    assert row.to_json()["met"] is met


def test_the_table_says_what_was_missed() -> None:
    text = table([Row(name="r", value=1234, unit="x/s", against="b", ratio=0.4, at_least=0.5)])
    assert "1,234" in text
    assert ">= 0.5 MISSED" in text


def test_lateness_is_the_time_of_the_event_minus_the_time_it_was_due() -> None:
    due = [
        Due("start", "p", "PromotionStarted", 1000),
        Due("end", "p", "PromotionFinished", 3000),
        Due("start", "q", "PromotionStarted", 1137),
    ]
    happened = {
        ("p", "PromotionStarted"): 1000,
        ("p", "PromotionFinished"): 3042,
        ("q", "PromotionStarted"): 1150,
    }
    assert lateness(due, happened) == {"start": [0, 13], "end": [42]}


def test_no_customer_is_measured_twice() -> None:
    assert len({*customers(3), *customers(3)}) == 6


def test_a_wrong_answer_makes_a_measurement_invalid() -> None:
    expect("SOLD_OUT", "SOLD_OUT")
    with pytest.raises(InvalidMeasurement, match="expected SOLD_OUT, but the answer was GRANTED"):
        expect("GRANTED", "SOLD_OUT")


class _SoldOut(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    customers: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.customers.append(body["customerId"])
        self.send_response(409)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def answering_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SoldOut)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def loaded(url: str) -> Load:
    """A second's load; longer where the machine is too busy to answer anything within it."""
    target = Target(url, "/command/coupons", "p")
    for seconds in (1, 5):
        with suppress(InvalidMeasurement):
            return load(target, seconds, wrk=None)
    return load(target, 25, wrk=None)


def test_the_loader_without_wrk_sends_a_different_customer_each_time(answering_url: str) -> None:
    done = loaded(answering_url)
    assert done.requests == done.refused > 0
    assert len(set(_SoldOut.customers)) == len(_SoldOut.customers) >= done.requests
