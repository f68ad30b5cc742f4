"""Geometry of the report's drawings: numbers in, coordinates out; the template turns them into SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from potstill.pipelines.report.histogram import Histogram, Threshold

WIDTH, HEIGHT = 320.0, 96.0
FILL = 0.86
"""Share of its place that a bar fills."""
OUTCOMES = ("kept", "dropped", "duplicate", "quarantined", "pending")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: kept rows at the foot, the others on top; heights and places in the drawing's units."""

    x: float
    width: float
    kept: float
    other: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """A filter's limit."""

    x: float | None
    """None where it lies outside the values."""
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A histogram, drawn."""

    column: str
    stage: str
    bars: list[Bar]
    lines: list[Line]
    ticks: list[tuple[float, str]]
    caption: str
    retention: str
    """Points of a polyline: the share of the rows at or above each bin, from all at the top to none."""


def chart(histogram: Histogram, limits: Sequence[Threshold]) -> Chart:
    """The drawing of a histogram with at least one number in it."""
    edges, bins = histogram.edges, len(histogram.edges) - 1
    low, span = float(edges[0]), float(edges[-1] - edges[0])
    top = max(1, int((histogram.kept + histogram.other).max()))
    step = WIDTH / bins
    bars: list[Bar] = []
    for position in range(bins):
        kept, other = int(histogram.kept[position]), int(histogram.other[position])
        if kept or other:
            here = (
                f"{edges[position] + 0.5:g}"
                if histogram.levels
                else f"{edges[position]:.4g} to {edges[position + 1]:.4g}"
            )
            label = f"{here}: {kept:,} kept, {other:,} not"
            x, scale = (position + (1 - FILL) / 2) * step, HEIGHT / top
            bars.append(Bar(x, FILL * step, kept * scale, other * scale, label))
    lines = [_line(limit, limit.at(histogram.levels), low, span) for limit in limits]
    ticks, caption = _ticks(histogram, step), _caption(histogram)
    return Chart(histogram.column, histogram.stage, bars, lines, ticks, caption, _retention(histogram, step))


def _retention(histogram: Histogram, step: float) -> str:
    bins = len(histogram.edges) - 1
    counts = (histogram.kept + histogram.other)[:bins].tolist()
    above = [sum(counts[at:]) / sum(counts) for at in range(bins + 1)]
    return " ".join(f"{at * step:.1f},{HEIGHT * (1 - share):.1f}" for at, share in enumerate(above))


def _line(limit: Threshold, value: float, low: float, span: float) -> Line:
    x = (value - low) / span * WIDTH
    return Line(x if 0 <= x <= WIDTH else None, f"{limit.filter}: {limit.sign} {limit.value:g}")


def _ticks(histogram: Histogram, step: float) -> list[tuple[float, str]]:
    """Places and texts below the axis: every level when they are few, else both ends and the middle."""
    if histogram.levels:
        count = len(histogram.edges) - 1
        every = 1 + count // 11
        return [((position + 0.5) * step, f"{histogram.low + position:g}") for position in range(0, count, every)]
    low, high = float(histogram.edges[0]), float(histogram.edges[-1])
    return [(0.0, f"{low:.3g}"), (WIDTH / 2, f"{(low + high) / 2:.3g}"), (WIDTH, f"{high:.3g}")]


def _caption(histogram: Histogram) -> str:
    tallest = int((histogram.kept + histogram.other).max())
    parts = [f"{histogram.rows:,} values", f"tallest bar {tallest:,}", f"mean {histogram.mean:.4g}"]
    if not histogram.levels:
        parts.append(f"range {histogram.low:.4g} to {histogram.high:.4g}")
    if histogram.unusable:
        parts.append(f"{histogram.unusable:,} not finite")
    return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Flow:
    """A funnel bar: (outcome, start, length) in percent of the rows that came in at the very start."""

    pieces: list[tuple[str, float, float]]


def flow(stage: Mapping[str, Any], whole: int) -> Flow:
    """The bar of one entry of ``run.json``'s ``stages``."""
    sizes = {name: stage[name] for name in OUTCOMES} | {"dropped": sum(stage["dropped"].values())}
    pieces: list[tuple[str, float, float]] = []
    start = 0.0
    for name in OUTCOMES:
        length = 100 * sizes[name] / whole if whole else 0.0
        if length:
            pieces.append((name, start, length))
        start += length
    return Flow(pieces)
