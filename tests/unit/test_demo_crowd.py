"""What the demo's crowd plans, what it writes and what is counted of it; the demo's arguments."""

from typing import Any

import pytest

from demo.figures import figures, payment_figures, percentile
from demo.history import read_history, read_settlements
from demo.paying import LAPSE, PAYMENT, RETURN, Paying
from demo.run import main
from tests.unit.demo_runs import PaidSale, Sale, good_paid_sale, good_sale


@pytest.fixture
def sale() -> Sale:
    return good_sale()


@pytest.fixture
def paid_sale() -> PaidSale:
    return good_paid_sale()


def test_a_history_reads_back_as_it_was_written(tmp_path: Any, sale: Sale) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("".join(attempt.to_line() for attempt in sale.attempts))
    assert read_history(file) == sale.attempts


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(200, 0, -1)]
    assert percentile(values, 50) == 100.0
    assert percentile(values, 99) == 198.0
    assert percentile(values, 100) == 200.0
    assert percentile([7.0], 99) == 7.0
    assert percentile([], 99) == 0.0


def test_figures_span_the_first_grab_to_the_last_answer(sale: Sale) -> None:
    found = figures(sale.attempts)
    assert found["seconds"] == 0.016
    assert found["grabs_per_s"] == 750.0
    assert (found["p50_ms"], found["p99_ms"], found["visible_p99_ms"]) == (5.0, 5.0, 40.0)
    assert found["answers"] == {"201 GRABBED": 5, "409 SOLD_OUT": 7}


def plans(pay: float, *, served: float | None = None, now: float = 0.0) -> list[str]:
    paying = Paying(2, pay, 10, None, all_served=served)  # type: ignore[arg-type]
    return [paying.plan(f"c{position}", now)[0] for position in range(2000)]


def test_winners_pay_as_often_as_asked_and_the_same_ones_in_every_run() -> None:
    assert plans(0.7) == plans(0.7)
    assert 0.65 < plans(0.7).count(PAYMENT) / 2000 < 0.75
    assert 0 < plans(0.7).count(RETURN) < plans(0.7).count(LAPSE)
    assert set(plans(1)) == {PAYMENT}
    assert set(plans(0.1, served=0.0, now=31.0)) == {PAYMENT}


def test_settlements_read_back_as_they_were_written(tmp_path: Any, paid_sale: PaidSale) -> None:
    file = tmp_path / "settlements.jsonl"
    file.write_text("".join(settlement.to_line() for settlement in paid_sale.settlements))
    assert read_settlements(file) == paid_sale.settlements
    assert payment_figures(paid_sale.settlements) == {
        "payment_p50_ms": 5.0,
        "payment_p99_ms": 5.0,
        "settlements": {"payment 200 PAID": 3, "return 200 RELEASED": 1},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hold", "11"], "hold must be whole seconds from 0 to 10, not 11"),
        (["--hold=-1"], "hold must be whole seconds from 0 to 10, not -1"),
        (["--hold", "soon"], "hold must be whole seconds from 0 to 10, not soon"),
        (["--hold", "1.5"], "hold must be whole seconds from 0 to 10, not 1.5"),
        (["--hold", "2", "--pay", "0"], "pay must be above 0 and up to 1, not 0"),
        (["--hold", "2", "--pay", "1.1"], "pay must be above 0 and up to 1, not 1.1"),
        (["--hold", "2", "--pay", "nan"], "pay must be above 0 and up to 1, not nan"),
        (["--pay", "0.7"], "pay 0.7 needs a hold of 1 to 10 seconds to pay in"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(
    arguments: list[str], message: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["demo", *arguments])
    assert main() == 1
    assert capsys.readouterr().err == f"seckill: {message}\n"
