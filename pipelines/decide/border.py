"""Rows next to the limits of conditions: the nearest on either side of every comparison."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from potstill.pipelines.filters import expression
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.filters.measures import measured
from potstill.pipelines.plan import Plan
from potstill.pipelines.selectors.set_filter import SetFilter
from potstill.pipelines.walk import Passage, read

EXAMPLES = 3
"""Rows on each side."""
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def seen(plan: Plan, position: int, table: pa.Table, rows: np.ndarray) -> dict[str, Any]:
    """The columns that the filter at ``position`` decides by, for the ``rows`` (boolean, n) that reach it."""
    stage = plan.stages[position]
    part = table.filter(pa.array(rows))
    columns: dict[str, Any] = dict(read(plan, position, part, stage.reads()))
    return measured(stage.measures, columns, part.num_rows) if isinstance(stage, SetFilter) else columns


def borders(
    plan: Plan, position: int, table: pa.Table, passage: Passage, reasons: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Per comparison in a filter's conditions (those in ``reasons``), the rows that are nearest to its limit.

    Yields ``reason``, ``comparison``, and ``holds`` and ``fails``: rows on either side, the nearest first, each with
    its place in the table (``at``) and the ``values`` that are compared.
    """
    stage = plan.stages[position]
    assert isinstance(stage, Filter | SetFilter)
    entered = np.flatnonzero(passage.entered)
    columns = seen(plan, position, table, passage.entered)
    for reason, tree in stage.conditions.items():
        if reason not in reasons:
            continue
        for comparison in comparisons(tree):
            distance = _distance(comparison, columns, len(entered))
            if distance is None:
                continue
            holds = np.asarray(expression.evaluate(comparison, columns, len(entered)).fill_null(False))
            finite = np.isfinite(distance)
            names = expression.names(comparison)
            sides = {"holds": holds & finite, "fails": ~holds & finite}
            nearest = {side: _nearest(distance, where) for side, where in sides.items()}
            yield {"reason": reason, "comparison": ast.unparse(comparison)} | {
                side: [{"at": int(entered[at]), "values": _values(columns, names, int(at))} for at in found]
                for side, found in nearest.items()
            }


def comparisons(tree: ast.expr) -> Iterator[ast.Compare]:
    """Every link ``a < b``, ``a >= b`` ... of a condition by itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
                if isinstance(op, _ORDERED):
                    yield ast.Compare(left, [op], [right])


def _distance(comparison: ast.Compare, columns: Mapping[str, Any], rows: int) -> np.ndarray | None:
    """How far each row is from the limit, float64 (n,), NaN for null; None where no numbers are compared."""
    try:
        gap = expression.value(ast.BinOp(comparison.left, ast.Sub(), comparison.comparators[0]), columns)
        if isinstance(gap, pa.Scalar):
            return None
        return np.abs(np.asarray(pc.cast(gap, pa.float64(), safe=False).fill_null(float("nan"))))
    except (ValueError, pa.ArrowException):  # texts, times: no distance
        return None


def _nearest(distance: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Positions of the nearest rows among ``where``; of equally near ones the first."""
    among = np.flatnonzero(where)
    if len(among) > EXAMPLES:
        limit = np.partition(distance[among], EXAMPLES - 1)[EXAMPLES - 1]
        among = among[distance[among] <= limit]
    return among[np.argsort(distance[among], kind="stable")][:EXAMPLES]


def _values(columns: Mapping[str, Any], names: tuple[str, ...], at: int) -> dict[str, Any]:
    return {name: columns[name][at].as_py() for name in names}
