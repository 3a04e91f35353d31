"""Plots as inline SVG. Colours are CSS classes of the page, so they follow light and dark."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 26, 38
TICKS = 5
# Shorter than a pixel is not seen: a bar that is there at all gets this much.
LEAST_BAR = 1.5
# Above the highest bar, for the labels of the marks.
HEADROOM = 1.15

Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Bars:
    """One layer of a stacked bar plot: its CSS class, and one height per bin."""

    css: str
    heights: Sequence[float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across a plot at `value`, with a label."""

    value: float
    label: str


def stacked_bars(layers: Sequence[Bars], x_max: float, x_label: str, y_label: str) -> str:
    """Bins of equal width from 0 to `x_max`, the layers on top of one another."""
    bins = len(layers[0].heights)
    totals = [sum(layer.heights[position] for layer in layers) for position in range(bins)]
    y_max = _round_up(max(totals, default=0))
    x, y = _linear(x_max, LEFT, WIDTH - RIGHT), _linear(y_max, HEIGHT - BOTTOM, TOP)
    width = x(x_max / bins) - x(0)
    parts = [_y_axis(y_max, y, y_label), _x_axis(_steps(x_max), x, x_label)]
    base = [float(HEIGHT - BOTTOM)] * bins
    for layer in layers:
        for position, height in enumerate(layer.heights):
            if height:
                tall = max(LEAST_BAR, y(0) - y(height))
                base[position] -= tall
                left = x(position * x_max / bins)
                parts.append(_rect(layer.css, left, base[position], max(width - 0.6, 0.6), tall))
    return _svg(parts, f"{y_label} over {x_label}")


def log_histogram(values: Sequence[float], marks: Sequence[Mark], css: str, y_label: str) -> str:
    """How many of `values` (milliseconds, above 0) lie where, on a logarithmic axis."""
    low = math.floor(math.log10(max(min(values), 0.1)))
    high = max(math.ceil(math.log10(max(values))), low + 1)
    bins = 24 * (high - low)
    counts = [0] * bins
    for value in values:
        position = int((math.log10(max(value, 0.1)) - low) / (high - low) * bins)
        counts[min(max(position, 0), bins - 1)] += 1
    y_max = _round_up(max(counts) * HEADROOM)
    y = _linear(y_max, HEIGHT - BOTTOM, TOP)
    span = (WIDTH - RIGHT - LEFT) / (high - low)

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - low) * span

    decades = [10.0**power for power in range(low, high + 1)]
    parts = [_y_axis(y_max, y, y_label), _x_axis(decades, x, "milliseconds, logarithmic")]
    width = (WIDTH - RIGHT - LEFT) / bins
    for position, count in enumerate(counts):
        if count:
            tall = max(LEAST_BAR, y(0) - y(count))
            left = LEFT + position * width
            parts.append(_rect(css, left, HEIGHT - BOTTOM - tall, width - 0.6, tall))
    for row, mark in enumerate(marks):
        parts.append(_upright(x(max(mark.value, 0.1)), mark.label, row))
    return _svg(parts, f"{y_label} by milliseconds")


def dots(
    points: Sequence[tuple[float, float]], marks: Sequence[Mark], x_label: str, y_label: str
) -> str:
    """One dot per (x, y), with horizontal marks."""
    x_max = max(x for x, _ in points)
    y_max = _round_up(max(y for _, y in points))
    x, y = _linear(x_max, LEFT, WIDTH - RIGHT), _linear(y_max, HEIGHT - BOTTOM, TOP)
    parts = [_y_axis(y_max, y, y_label), _x_axis(_steps(x_max), x, x_label)]
    parts += [f'<circle class="won" cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.2"/>' for a, b in points]
    for mark in marks:
        at = y(mark.value)
        parts.append(f'<line class="mark" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}"'
                     f' y2="{at:.1f}"/>')  # fmt: skip
        parts.append(_text(WIDTH - RIGHT - 4, at - 4, mark.label, "end", "label"))
    return _svg(parts, f"{y_label} by {x_label}")


def rows(bars: Sequence[tuple[str, str, int]]) -> str:
    """Horizontal bars: (CSS class, label, count), with the counts written out."""
    step, left, right = 34, 190, 90
    widest = max(count for _, _, count in bars)
    parts = []
    for position, (css, label, count) in enumerate(bars):
        top = 8 + position * step
        wide = max(LEAST_BAR, (WIDTH - left - right) * count / widest)
        parts.append(_text(left - 8, top + 16, label, "end", "label"))
        parts.append(_rect(css, left, top, wide, step - 12))
        parts.append(_text(left + wide + 8, top + 16, f"{count:,}", "start", "label"))
    return _svg(parts, "answers by outcome", 8 + len(bars) * step)


def _svg(parts: Sequence[str], title: str, height: float = HEIGHT) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return "".join([head, *parts, "</svg>"])


def _linear(largest: float, at_zero: float, at_largest: float) -> Scale:
    span = at_largest - at_zero
    return lambda value: at_zero + span * value / largest if largest else at_zero


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10, 20, ... so that the axis has plain numbers."""
    if value <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
    return float(next(step * magnitude for step in steps if step * magnitude >= value * 0.9999))


def _steps(largest: float) -> list[float]:
    """Round positions from 0 up to `largest`, about `TICKS` of them."""
    step = _round_up(largest / TICKS)
    return [step * position for position in range(math.floor(largest / step * 1.0001) + 1)]


def _y_axis(largest: float, y: Scale, label: str) -> str:
    parts = [_text(4, 11, label, "start", "axis")]
    for position in range(TICKS):
        value = largest * position / (TICKS - 1)
        at = y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}"'
                     f' y2="{at:.1f}"/>')  # fmt: skip
        parts.append(_text(LEFT - 6, at + 4, f"{value:,.4g}" if value < 1000 else f"{value:,.0f}",  # noqa: PLR2004
                           "end", "axis"))  # fmt: skip
    return "".join(parts)


def _x_axis(values: Sequence[float], x: Scale, label: str) -> str:
    ticks = [_text(x(v), HEIGHT - BOTTOM + 15, f"{v:,.10g}", "middle", "axis") for v in values]
    return "".join([*ticks, _text((LEFT + WIDTH) / 2, HEIGHT - 6, label, "middle", "axis")])


def _upright(x: float, label: str, row: int) -> str:
    line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
    return line + _text(x + 4, TOP + 10 + 14 * row, label, "start", "label")


def _rect(css: str, x: float, y: float, width: float, height: float) -> str:
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{css}" {box}/>'


def _text(x: float, y: float, text: str, anchor: str, css: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{css}" {place}>{escape(text)}</text>'
