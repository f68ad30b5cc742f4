"""Histograms of columns, gathered chunk by chunk: exact range first, then counts in a fixed number of bins."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.plan import Plan
from potstill.pipelines.selectors.set_filter import SetFilter

BINS = 40
LEVELS = 20
"""Integer columns with at most this many different values get one bar for each."""
_MIRROR = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Eq: ast.Eq}
_SIGN = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=="}
_BEFORE = (">=", "<", "==")
"""Comparisons whose limit lies before the bar of their whole number."""


@dataclass(slots=True)
class Histogram:
    """Numbers of one column: :meth:`measure` every chunk, then :meth:`add` every chunk."""

    column: str
    stage: str
    integer: bool
    """Whether the column holds whole numbers, or truth."""
    low: float = np.inf
    high: float = -np.inf
    rows: int = 0
    """Rows with a number."""
    total: float = 0.0
    unusable: int = 0
    """Numbers that are not finite."""
    kept: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    other: np.ndarray = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))

    def measure(self, values: pa.ChunkedArray) -> None:
        """Widen the range to these values."""
        numbers = _numbers(values)
        finite = numbers[np.isfinite(numbers)]
        self.rows += len(finite)
        self.unusable += len(numbers) - len(finite)
        self.total += float(finite.sum())
        if len(finite):
            self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))

    @property
    def levels(self) -> bool:
        """Whether each value has a bar of its own."""
        return self.integer and self.high - self.low < LEVELS

    @property
    def edges(self) -> np.ndarray:
        """Bin edges: between whole numbers for few levels, else :data:`BINS` equal bins."""
        if self.levels:
            return np.arange(self.low - 0.5, self.high + 1)
        return (
            np.linspace(self.low, self.high, BINS + 1)
            if self.low < self.high
            else np.array([self.low - 0.5, self.low + 0.5])
        )

    @property
    def mean(self) -> float:
        """Arithmetic mean; NaN without rows."""
        return self.total / self.rows if self.rows else float("nan")

    def add(self, values: pa.ChunkedArray, kept: np.ndarray) -> None:
        """Count these values; ``kept`` tells which of the rows stay in the end."""
        if not self.rows:
            return
        bins = len(self.edges) - 1
        for counts, where in ((self.kept, kept), (self.other, ~kept)):
            numbers = _numbers(values.filter(pa.array(where)))
            counts[:bins] += np.histogram(numbers[np.isfinite(numbers)], bins=self.edges)[0]


def histograms(plan: Plan) -> list[Histogram]:
    """An empty histogram for each column of numbers that a stage writes (a vector is none)."""
    return [
        Histogram(column, stage.name, integer=not pa.types.is_floating(kind))
        for stage in plan.stages
        for column, kind in stage.writes().items()
        if kind is not None and (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
    ]


def _numbers(values: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.cast(values.drop_null(), pa.float64()))


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit that a filter sets to a column."""

    filter: str
    sign: str
    value: float

    def at(self, levels: bool) -> float:
        """Where the line belongs: between the bars when each whole number has its own."""
        return self.value if not levels else self.value - 0.5 if self.sign in _BEFORE else self.value + 0.5


def thresholds(plan: Plan) -> dict[str, list[Threshold]]:
    """Per computed column, the limits that can be read off the filters: comparisons with a number."""
    found: dict[str, list[Threshold]] = {}
    written: set[str] = set()
    for stage in plan.stages:
        written |= set(stage.writes())
        if isinstance(stage, Filter | SetFilter):
            for condition in stage.conditions.values():
                for column, sign, value in _comparisons(condition):
                    limit = Threshold(stage.name, sign, value)
                    if column in written and limit not in found.setdefault(column, []):
                        found[column].append(limit)
    return found


def _comparisons(tree: ast.expr) -> list[tuple[str, str, float]]:
    """(column, sign, number) of every comparison of a column with a number, whichever side it stands on."""
    result: list[tuple[str, str, float]] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
            for name, kind, other in ((left, type(op), right), (right, _MIRROR.get(type(op)), left)):
                value = _constant(other)
                if isinstance(name, ast.Name) and kind in _SIGN and value is not None:
                    result.append((name.id, _SIGN[kind], value))
    return result


def _constant(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -float(value)
    return None
