"""A result as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def lines(result: Mapping[str, Any], out: str) -> Iterator[str]:
    """The metrics as a table, what they are of, what did not count, and where it is written."""
    head = ("metric", "value", f"{100 * result['confidence']:g} % interval", "n")
    table = [head, *((name, *_cells(found)) for name, found in result["metrics"].items())]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    model = " ".join(str(value) for value in result["model"].values() if value is not None)
    yield f"{model + ', ' if model else ''}{result['rows']:,} rows, {result['seconds']:.1f} s"
    yield f"failed: {_counts(result['failed']) or '0'}"
    if result["left_out"]:
        yield f"left out: {_counts(result['left_out'])}"
    if result["facts"]:
        yield ", ".join(f"{name} {value}" for name, value in result["facts"].items())
    yield f"{out.rstrip('/')}/eval.json, {out.rstrip('/')}/eval-rows.parquet"


def _cells(found: Mapping[str, Any]) -> tuple[str, str, str]:
    low, high = found["low"], found["high"]
    value = "-" if found["value"] is None else f"{found['value']:.3f}"
    return value, "-" if low is None else f"{low:.3f} to {high:.3f}", f"{found['n']:,}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
