"""The demo's report: one HTML page without scripts and without anything from elsewhere."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from demo import plots
from demo.history import Attempt
from demo.plots import Bars, Mark
from demo.verdict import REFUSALS

BINS = 80
MOMENTS = 160
MOST_DOTS = 2000

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1d2530; --soft: #667085;
  --line: #e3e7ed; --won: #16a06a; --refused: #7d93b8; --wrong: #d64545; --mark: #d98324;
  --held: #e0a33a; --free: #c9d2e0; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1a2029; --ink: #e6eaf0;
  --soft: #94a0b3; --line: #2b3442; --won: #35c08a; --refused: #6f86ae; --wrong: #ef6a6a;
  --mark: #eba24f; --held: #d9a441; --free: #3d4858; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1rem; margin: 0 0 .5rem; }
p { margin: 0 0 1rem; color: var(--soft); }
.verdict { display: inline-block; padding: .3rem .9rem; border-radius: 2rem; color: #fff;
  font-weight: 600; margin: .25rem 0 1.25rem; }
.verdict.passed { background: var(--won); } .verdict.failed { background: var(--wrong); }
.tiles { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.tile, section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: .7rem .9rem; } .tile b { display: block; font-size: 1.35rem; }
.tile span { color: var(--soft); font-size: .82rem; } .tile.bad b { color: var(--wrong); }
.plots { display: grid; gap: 1rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
section { padding: 1rem; } section p { font-size: .85rem; margin: .4rem 0 0; }
.violations { border-color: var(--wrong); margin-top: 1rem; }
.violations li { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .85rem; }
svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--line); } .mark { stroke: var(--mark); stroke-dasharray: 4 3; }
.axis { fill: var(--soft); font-size: 11px; } .label { fill: var(--ink); font-size: 12px; }
.won { fill: var(--won); } .refused { fill: var(--refused); } .wrong { fill: var(--wrong); }
.held { fill: var(--held); } .free { fill: var(--free); }
.key.held { background: var(--held); } .key.free { background: var(--free); }
.key { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin: 0 .3rem 0
  .8rem; } .key.won { background: var(--won); } .key.refused { background: var(--refused); }
.key.wrong { background: var(--wrong); }
footer { margin-top: 1rem; color: var(--soft); font-size: .82rem; }
"""
_KEY = (
    '<span class="key won"></span>coupon<span class="key refused"></span>sold out or finished'
    '<span class="key wrong"></span>anything else'
)

_STOCK_KEY = (
    '<span class="key won"></span>sold<span class="key held"></span>held, waiting for payment'
    '<span class="key free"></span>available; as the journal has it'
)


def html_report(
    run: Mapping[str, Any], attempts: Sequence[Attempt], journal: Sequence[Mapping[str, Any]]
) -> str:
    """The page for one run: what build/demo.json has, the attempts, the rows of the journal."""
    passed = not run["violations"]
    word = "passed" if passed else "failed"
    title = f"{run['customers']:,} customers, {run['stock']:,} coupons"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>seckill demo: {title}: {word}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{title}</h1><p>Every customer grabbed once, {run['users']:,} at the same time; "
        f"{_on_payment(run)}then "
        "every answer was compared with the read table and with the journal.</p>"
        f'<div class="verdict {word}">{word.upper()}</div>'
        f"{_tiles(run)}{_violations(run['violations'])}"
        f'<div class="plots">{"".join(_plots(run, attempts) + _stock(run, journal))}</div>'
        f"<footer>{escape(str(run['ended_at']))}, {run['processors']} processors,"
        f" {run['workers']} HTTP workers, promotion {escape(str(run['promotion_id']))}</footer>"
        "</main></body></html>\n"
    )


def _on_payment(run: Mapping[str, Any]) -> str:
    if "paid" not in run:
        return ""
    return (
        f"a coupon had to be paid within {run['hold_seconds']} s, which a winner did with a chance"
        f" of {run['pay']:g}, and losers could come back for what was released; "
    )


def _tiles(run: Mapping[str, Any]) -> str:
    expected = min(run["customers"], run["stock"])
    paid = "paid" in run
    granted = run["journaled"] if paid else expected
    tiles = [
        *((name, f"{run[name]:,}", run[name] != granted)
          for name in ("granted", "stored", "journaled")),
        *((name.replace("_", " "), f"{run[name]:,}", run[name] != expected)
          for name in ("paid", "stored_paid", "journaled_paid") if paid),
        *((name.replace("_", " "), f"{run[name]:,}", False)
          for name in ("released", "given_back", "resold", "late", "refunds") if paid),
        *((name, f"{run[name]:,}", run[name] != 0)
          for name in ("duplicates", "oversold", "lost", "errors")),
        ("grabs per second", f"{run['grabs_per_s']:,.0f}", False),
        ("answer, median", f"{run['p50_ms']:,.0f} ms", False),
        ("answer, p99", f"{run['p99_ms']:,.0f} ms", False),
        ("readable after, p99", f"{run['visible_p99_ms']:,.0f} ms", False),
        ("last coupon after", f"{run['last_coupon_s']:,.1f} s", False),
    ]  # fmt: skip
    return '<div class="tiles">{}</div>'.format(
        "".join(
            f'<div class="tile{" bad" if bad else ""}"><b>{value}</b><span>{name}</span></div>'
            for name, value, bad in tiles
        )
    )


def _violations(violations: Sequence[str]) -> str:
    if not violations:
        return ""
    items = "".join(f"<li>{escape(violation)}</li>" for violation in violations)
    return f'<section class="violations"><h2>Violations</h2><ul>{items}</ul></section>'


def _plots(run: Mapping[str, Any], attempts: Sequence[Attempt]) -> list[str]:
    if not attempts:
        return []
    latencies = [attempt.latency_ms for attempt in attempts]
    marks = [Mark(run[f"{p}_ms"], f"{p} {run[f'{p}_ms']:,.0f} ms") for p in ("p50", "p90", "p99")]
    found = [
        _section("Answers over time", _over_time(attempts), _KEY),
        _section(
            "Time to the answer",
            plots.log_histogram(latencies, marks, "refused", "customers"),
            "As the customer's side measured it, with the crowd on the same machine.",
        ),
        _section("Answers by outcome", plots.rows(_outcomes(attempts)), _KEY),
    ]
    visible = sorted((a.number, a.visible_ms) for a in attempts if a.visible_ms is not None)
    if visible:
        step = -(-len(visible) // MOST_DOTS)
        lines = [
            Mark(run[f"visible_{p}_ms"], f"{p} {run[f'visible_{p}_ms']:,.0f} ms")
            for p in ("p50", "p99")
        ]
        shown = plots.dots(visible[::step], lines, "number of the coupon", "milliseconds")
        text = "From the 201 until the winner's own list shows the coupon; one dot per coupon"
        some = f" (every {step}th)." if step > 1 else "."
        found.append(_section("From the answer to the read table", shown, text + some))
    return found


def _stock(run: Mapping[str, Any], journal: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the units of a sale with payment were, by its journal."""
    if "paid" not in run or not journal:
        return []
    events = sorted((json.loads(row["event"]) for row in journal), key=lambda e: int(e["version"]))
    grabs = [event["at"] for event in events if event["type"] == "CouponGrabbed"]
    start = grabs[0] if grabs else events[0]["at"]
    last = max(0.001, (events[-1]["at"] - start) / 1000)
    times = [(event["at"] - start) / 1000 for event in events]
    layers = {"sold": "won", "held": "held", "available": "free"}
    heights: dict[str, list[float]] = {name: [] for name in layers}
    for position in range(MOMENTS):
        place = max(0, bisect_right(times, last * (position + 1) / MOMENTS) - 1)
        for name, bins in heights.items():
            bins.append(events[place][name])
    plot = plots.stacked_bars(
        [Bars(css, heights[name]) for name, css in layers.items()],
        last,
        "seconds since the first grab",
        "units",
    )
    return [_section("Held, sold and available", plot, _STOCK_KEY)]


def _section(title: str, plot: str, text: str) -> str:
    return f"<section><h2>{title}</h2>{plot}<p>{text}</p></section>"


def _css(attempt: Attempt) -> str:
    if attempt.granted:
        return "won"
    return "refused" if (attempt.status, attempt.code) in REFUSALS else "wrong"


def _over_time(attempts: Sequence[Attempt]) -> str:
    start = min(attempt.started_ms for attempt in attempts)
    answered = [(_css(a), (a.started_ms + a.latency_ms - start) / 1000) for a in attempts]
    last = max(0.001, *(second for _, second in answered))
    heights = {css: [0.0] * BINS for css in ("won", "refused", "wrong")}
    for css, second in answered:
        heights[css][min(int(second / last * BINS), BINS - 1)] += BINS / last
    layers = [Bars(css, bins) for css, bins in heights.items()]
    return plots.stacked_bars(layers, last, "seconds since the first grab", "answers per second")


def _outcomes(attempts: Sequence[Attempt]) -> list[tuple[str, str, int]]:
    counted: dict[tuple[int, str], tuple[str, str, int]] = {}
    for attempt in attempts:
        kind = (attempt.status, attempt.code)
        label = f"{attempt.status or 'no answer'} {attempt.code}"
        count = counted[kind][2] if kind in counted else 0
        counted[kind] = (_css(attempt), label, count + 1)
    return [counted[kind] for kind in sorted(counted)]
