"""`python -m bench.scale_tables`: print the tables of docs/scaling.md; `--write` puts them there.

`--bench build/bench.json` takes what that run has measured instead of what the page was made with.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from bench import scale, scale_inputs
from bench.scale_inputs import (
    ASSUMED,
    CROWDS,
    LIMITS,
    MEASURED,
    PRICES,
    QUEUES,
    ROWS,
    SOURCES,
    WRITES,
    Measured,
)

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Print the tables, or write them into the page; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale_tables", description=__doc__)
    parser.add_argument("--bench", type=Path, help="what `make bench` wrote")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    measured = scale_inputs.read(options.bench) if options.bench else MEASURED
    if options.write:
        PAGE.write_text(filled(PAGE.read_text(), measured))
    else:
        print("\n".join(f"{name}\n\n{table(measured)}" for name, table in TABLES.items()), end="")
    return 0


def filled(page: str, measured: Measured) -> str:
    """`page` with its tables as they follow from what was measured.

    Raises:
        KeyError: the page has a table of another name.
    """
    return _TABLE.sub(lambda found: found[1] + TABLES[found[2]](measured) + found[3], page)


def tables_in(page: str) -> list[str]:
    """The names of the tables of a page, in its order."""
    return [found[2] for found in _TABLE.finditer(page)]


# --- the tables -----------------------------------------------------------------------------------


def _inputs(measured: Measured) -> str:
    rows = [
        (f"`{field}`", _exact(getattr(measured, field)), f"`make bench`: {name}")
        for field, name in ROWS.items()
    ]
    for group in (ASSUMED, LIMITS, PRICES):
        rows += [
            (f"`{one.name}`", _exact(getattr(group, one.name)), SOURCES[one.name])
            for one in fields(group)
        ]
    return _markdown(("input", "value", "from"), rows)


def _quotas(measured: Measured) -> str:
    peak = _at_peak(scale.environments)
    won: Callable[[int], float] = lambda n: scale.winners_per_s(measured, n)  # noqa: E731
    rows: list[tuple[str, int, Callable[[int], float]]] = [
        ("API Gateway: requests a second, all APIs", LIMITS.gateway_per_s, scale.peak_per_s),
        ("Lambda: concurrent executions, all functions", LIMITS.environments, peak),
        ("Lambda: more of them in ten seconds (fixed)", LIMITS.environments_per_10_s, peak),
        ("SNS: messages a second", LIMITS.topic_per_s, won),
        ("DynamoDB: journal's writes a second, one promotion (fixed)",
         LIMITS.partition_writes_per_s, won),
        ("DynamoDB: `coupons` and its index, writes a second", LIMITS.table_writes_per_s, won),
        ("ElastiCache: connections of a node (fixed)", LIMITS.connections, peak),
        ("Cognito: sign-ins a second, in the hour before", LIMITS.sign_ins_per_s,
         scale.sign_ins_per_s),
    ]  # fmt: skip
    head = ("quota", "by default", *(f"{crowd:,}" for crowd in CROWDS))
    return _markdown(
        head,
        [
            (name, _number(most), *(_over(of(crowd), most) for crowd in CROWDS))
            for name, most, of in rows
        ],
    )


def _tiers(measured: Measured) -> str:
    return _by_crowd(
        {
            "coupons, all of them sold": scale.winners,
            "API Gateway: grabs": lambda n: n,
            "API Gateway: let in by the default quota": _percent(scale.by_default),
            "Lambda: enough environments after (s), from nothing": _at_peak(scale.scaling_s),
            "or containers: cores": _at_peak(lambda per_s: scale.cores(measured, per_s)),
            "store: one promotion is sold out after (s)": lambda n: scale.sold_out_s(measured, n),
            "store: losers who ask it, at worst": scale.asking,
            "no store: losers told from a mark, at least": _told,
            "topic: messages": scale.winners,
            "queues: messages, all three": lambda n: QUEUES * scale.winners(n),
            "tables: writes, at most": lambda n: WRITES * scale.winners(n),
            "journal: has all of one promotion after (s)": scale.journaled_s,
        }
    )


def _store(measured: Measured) -> str:
    return _by_crowd(
        {
            "memory of all winners (MB)": lambda n: scale.winners(n) * measured.winner_bytes / 1e6,
            "memory of all losers (MB)": lambda _: 0,
            "connections, one for each environment": _at_peak(scale.environments),
            "shards, so slices, to keep up with the busiest second": _at_peak(
                lambda per_s: scale.slices(measured, per_s)
            ),
            "the names for all marks: time of its thread (s)": (
                lambda n: scale.names_s(measured, n)
            ),
            "the names for all marks: sent (GB)": lambda n: scale.names_gb(measured, n),
            "calls a second after the end, at worst": scale.store_calls_per_s_after,
            "their scripts, of what a shard is trusted with": _percent(
                lambda n: scale.refusing(measured, n)
            ),
            "wiped: recovered after (s), one promotion": lambda n: scale.recovered_s(measured, n),
        }
    )


def _admission(measured: Measured) -> str:
    return _by_crowd(
        {
            "admitted": lambda n: scale.winners(n) * ASSUMED.admitted,
            "API Gateway: grabs a second": scale.admitted_per_s,
            "Lambda: concurrency": lambda n: scale.environments(scale.admitted_per_s(n)),
            "shards, so slices": lambda n: scale.slices(measured, scale.admitted_per_s(n)),
            "or cores of containers": lambda n: scale.cores(measured, scale.admitted_per_s(n)),
        }
    )


def _costs(measured: Measured) -> str:
    by_crowd = [scale.costs(measured, crowd) for crowd in CROWDS]
    rows = [(name, *(_dollars(costs[name]) for costs in by_crowd)) for name in by_crowd[0]]
    rows.append(("the minute", *(_dollars(sum(costs.values())) for costs in by_crowd)))
    hour = 2 * PRICES.node_hour, 4 * PRICES.endpoint_hour
    more: dict[str, Callable[[int], float]] = {
        "**a million of these grabs**": lambda n: scale.per_million(measured, n),
        "an hour: store of one shard, two nodes": lambda _: hour[0],
        "an hour: endpoints of topic and queues, two zones": lambda _: hour[1],
        "an hour: the concurrency, provisioned": _at_peak(scale.provisioned_per_hour),
        "a month: the accounts, where Cognito has them": scale.accounts_dollars,
    }
    rows += [(name, *(_dollars(of(crowd)) for crowd in CROWDS)) for name, of in more.items()]
    return _markdown(_head("US dollars"), rows)


def _doors(measured: Measured) -> str:
    rows = [(name, _dollars(price)) for name, price in scale.doors(measured).items()]
    return _markdown(("a million losers who ask the store", "US dollars"), rows)


TABLES: Mapping[str, Callable[[Measured], str]] = {
    "quotas": _quotas,
    "tiers": _tiers,
    "store": _store,
    "admission": _admission,
    "costs": _costs,
    "doors": _doors,
    "inputs": _inputs,
}


# --- how they are set -----------------------------------------------------------------------------


def _told(customers: int) -> int:
    return customers - scale.winners(customers) - scale.asking(customers)


def _over(value: float, most: float) -> str:
    return f"**{_number(value)}**" if value > most else _number(value)


def _at_peak(of: Callable[[float], float]) -> Callable[[int], float]:
    return lambda customers: of(scale.peak_per_s(customers))


def _percent(of: Callable[[int], float]) -> Callable[[int], str]:
    return lambda customers: f"{_number(100 * of(customers))} %"


def _by_crowd(rows: Mapping[str, Callable[[int], float | str]]) -> str:
    return _markdown(
        _head("customers in the first minute"),
        [(name, *(_number(of(crowd)) for crowd in CROWDS)) for name, of in rows.items()],
    )


def _head(first: str) -> tuple[str, ...]:
    return (first, *(f"{crowd:,}" for crowd in CROWDS))


def _markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    rule = ("---", *("---:" for _ in head[1:])) if head[-1] != "from" else ("---", "---:", "---")
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))


def _number(value: float | str) -> str:
    """Below a hundred, two digits are all that such figures bear."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.2g}"  # noqa: PLR2004


def _exact(value: float) -> str:
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def _dollars(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"  # noqa: PLR2004


if __name__ == "__main__":
    sys.exit(main())
