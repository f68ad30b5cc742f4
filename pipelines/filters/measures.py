"""What a function over all rows comes to: a column for each call, worked out before the condition itself."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from potstill.pipelines.filters import expression, statistics


@dataclass(frozen=True, slots=True)
class Measure:
    """One call: the function, what it is of, its share (of ``quantile`` and ``top_fraction``), what groups the rows."""

    function: str
    of: ast.expr | None
    number: float
    by: ast.expr | None


def measured(measures: Mapping[str, Measure], columns: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """The columns and, beside them, one per measure by its name, each of ``rows`` values.

    A row whose ``by`` is null has null, and so has the rank of a row without a value. Raises ``ValueError`` when
    columns do not fit.
    """
    result = dict(columns)
    for name, measure in measures.items():
        result[name] = _measure(measure, result, rows)
    return result


def _measure(measure: Measure, columns: Mapping[str, Any], rows: int) -> pa.Array:
    groups = np.zeros(rows, np.int64) if measure.by is None else _groups(measure.by, columns)
    values = np.zeros(rows) if measure.of is None else _numbers(measure.of, columns)
    match measure.function:
        case "count":
            found = statistics.counts(groups)
        case "rank":
            found = statistics.ranks(values, groups)
            return pa.array(found, mask=found == 0)
        case "top_fraction":
            found = statistics.quotas(values, groups, measure.number)
        case "quantile":
            found = statistics.quantiles(values, groups, measure.number)
        case "mean":
            found = statistics.means(values, groups)
        case _:
            found = statistics.deviations(values, groups)
    return pa.array(found, mask=(groups < 0) | np.isnan(found))


def _numbers(tree: ast.expr, columns: Mapping[str, Any]) -> np.ndarray:
    """Float64, NaN for null. Texts are no numbers, also where they look like some."""
    column = expression.value(tree, columns)
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or kind == pa.null()):
        raise ValueError(f"{ast.unparse(tree)!r} does not fit its columns: {kind} is no number")
    try:
        return np.asarray(pc.cast(column, pa.float64()).fill_null(float("nan")))
    except pa.ArrowInvalid as error:  # whole numbers beyond 2^53
        raise ValueError(f"{ast.unparse(tree)!r} does not fit its columns: {error}") from error


def _groups(tree: ast.expr, columns: Mapping[str, Any]) -> np.ndarray:
    """A number from 0 for each different value, -1 for null."""
    column = expression.value(tree, columns)
    try:
        codes = pc.dictionary_encode(column).indices
    except pa.ArrowException as error:
        raise ValueError(f"by={ast.unparse(tree)} does not fit its columns: {column.type} makes no groups") from error
    return np.asarray(codes.fill_null(-1)).astype(np.int64)
