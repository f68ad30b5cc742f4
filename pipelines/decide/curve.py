"""The retention curve of a score: which share of the rows stays above each threshold."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from potstill.config import RequestError
from potstill.pipelines.filters import expression

SHARES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 0.9, 1.0)
"""Kept shares for which thresholds are given: those of DataComp's calibration table."""
BINS = 40
BLOCKS = "▁▂▃▄▅▆▇█"


def parse(text: str) -> ast.expr:
    """A column, or an expression of columns. Raises :class:`RequestError` when it is neither."""
    try:
        tree = expression.parse(text)
    except ValueError as error:
        raise RequestError(f"curve: {error}") from error
    if not expression.names(tree):
        raise RequestError(f"curve: {text} names no column")
    return tree


def curve(text: str, columns: Mapping[str, Any], kept: np.ndarray) -> dict[str, Any]:
    """Thresholds of a score of n rows; ``kept`` (boolean, n) are the rows that all stages keep.

    ``levels``: the threshold at which at least that share of the rows with a number stays, with the rows at or above it
    and how many of them are kept. ``bins``: rows in equal steps from ``low`` to ``high``.
    """
    try:
        found = expression.value(parse(text), columns)
        values = np.asarray(pc.cast(found, pa.float64()).fill_null(float("nan")))
    except (ValueError, pa.ArrowException) as error:
        raise RequestError(f"curve: {text} is no column of numbers: {error}") from error
    usable = np.isfinite(values)
    ranked, through = np.sort(values[usable])[::-1], np.sort(values[usable & kept])
    if not len(ranked):
        raise RequestError(f"curve: no row has a number for {text}")
    low, high = float(ranked[-1]), float(ranked[0])
    bins = np.histogram(ranked, BINS, (low, high))[0] if low < high else np.array([len(ranked)])
    return {
        "of": text,
        "rows": len(ranked),
        "without": int((~usable).sum()),
        "low": low,
        "high": high,
        "bins": bins.tolist(),
        "levels": [_level(ranked, through, share) for share in SHARES],
    }


def _level(ranked: np.ndarray, through: np.ndarray, share: float) -> dict[str, Any]:
    limit = float(ranked[max(1, int(np.ceil(share * len(ranked) - 1e-9))) - 1])
    rows = int(np.searchsorted(-ranked, -limit, side="right"))
    kept = len(through) - int(np.searchsorted(through, limit, side="left"))
    return {"share": share, "threshold": limit, "rows": rows, "kept": kept}


def sparkline(bins: list[int]) -> str:
    """One character per bin, as high as its rows; a bin with any row is never empty."""
    top = max(bins)
    return "".join(BLOCKS[-(-count * len(BLOCKS) // top) - 1] if count else " " for count in bins)
