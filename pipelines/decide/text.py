"""A preview as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from potstill.pipelines.decide.curve import sparkline
from potstill.pipelines.report.standing import as_text
from potstill.pipelines.report.text import one_line

SOURCE_LIMIT, VALUE_LIMIT = 48, 60
PAIRS = 12
"""Most pairs of conditions that are shown, the most alike first."""


def lines(found: dict[str, Any], directory: str) -> Iterator[str]:
    """The preview of :func:`preview.preview`, line by line."""
    state = f"{found['plan']} in {directory} ({found['state']})"
    yield f"{state}: {found['rows']:,} rows; no model runs, nothing is written"
    yield ""
    head = ("stage", "in", "kept", "dropped", "quarantined", "waiting")
    yield from _table([head, *(_stage(stage) for stage in found["stages"])])
    kept = found["kept"]
    yield f"kept: {kept['now']:,} now, {kept['then']:,} then; {kept['leave']:,} leave, {kept['come']:,} come in"
    for stage, rows in found["would_run"].items():
        yield (
            f"stage {stage} would have to run: {rows:,} rows come to it that it has not computed. What becomes of them "
            f"is not known before they are, and only they: {found['command']}"
        )
    yield from _groups("leave, and why", found["leave"], "then")
    yield from _groups("come in, and why they were out", found["come"], "now")
    for border in found["borders"]:
        yield ""
        yield f"border of {border['stage']} {border['reason']}: {border['comparison']}"
        yield from _table([_example(side, row) for side in ("holds", "fails") for row in border[side]], "  ")
    yield from _overlap(found["overlap"])
    if found["curve"]:
        yield from _curve(found["curve"])


def _stage(stage: dict[str, Any]) -> tuple[str, ...]:
    now, then = stage["now"], stage["then"]
    old, new = (each or {"dropped": {}} for each in (now, then))
    reasons = dict.fromkeys([*old["dropped"], *new["dropped"]])
    dropped = [
        f"{one_line(name, VALUE_LIMIT)} {_both(old['dropped'].get(name, 0), new['dropped'].get(name, 0))}"
        for name in reasons
    ]
    name = stage["name"] + (" (new)" if now is None else " (gone)" if then is None else "")
    numbers = [_both(old.get(key), new.get(key)) for key in ("in", "kept", "quarantined", "pending")]
    return (name, *numbers[:2], ", ".join(dropped) or "0", *numbers[2:])


def _both(now: int | None, then: int | None) -> str:
    """One number when it stays, else both."""
    if now is None or then is None:
        return f"{now if then is None else then:,}"
    return f"{now:,}" if now == then else f"{now:,} -> {then:,}"


def _groups(title: str, groups: Sequence[dict[str, Any]], side: str) -> Iterator[str]:
    if groups:
        yield ""
        yield f"{title}:"
    for group in groups:
        yield f"  {group['rows']:,}  {group['stage']}: {one_line(group['reason'], VALUE_LIMIT)}"
        yield from _table(
            [(row["id"][:12], one_line(row["source"], SOURCE_LIMIT)) for row in group["examples"]], "      "
        )


def _example(side: str, row: dict[str, Any]) -> tuple[str, ...]:
    values = ", ".join(f"{name} {_value(value)}" for name, value in row["values"].items())
    ends = row["then"] if row["now"] == row["then"] else f"{row['now']} -> {row['then']}"
    return side, row["id"][:12], one_line(row["source"], SOURCE_LIMIT), values, one_line(ends, VALUE_LIMIT)


def _value(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else one_line(as_text(value), VALUE_LIMIT)


def _overlap(found: dict[str, Any]) -> Iterator[str]:
    if not found["conditions"]:
        return
    yield ""
    yield "each condition by itself, on all rows for which it can be told:"
    rows = [(one["name"], *(f"{one[key]:,}" for key in ("known", "drops", "alone"))) for one in found["conditions"]]
    yield from _table([("condition", "known", "drops", "no other does"), *rows], "  ")
    pairs = sorted((pair for pair in found["pairs"] if pair["either"]), key=lambda pair: -pair["jaccard"])
    if pairs:
        yield ""
        shown = [
            (pair["a"], pair["b"], f"{pair['both']:,}", f"{pair['either']:,}", f"{pair['jaccard']:.3f}")
            for pair in pairs[:PAIRS]
        ]
        yield from _table([("one", "other", "both drop", "either drops", "Jaccard"), *shown], "  ")
    if len(pairs) > PAIRS:
        yield f"  and {len(pairs) - PAIRS} pairs that are less alike; --json has them all"


def _curve(curve: dict[str, Any]) -> Iterator[str]:
    yield ""
    without = f", {curve['without']:,} without a number" if curve["without"] else ""
    yield f"curve of {curve['of']}: {curve['rows']:,} rows from {curve['low']:.4g} to {curve['high']:.4g}{without}"
    yield f"  {sparkline(curve['bins'])}"
    rows = [
        (f"{level['share']:.0%}", f"{level['threshold']:.6g}", f"{level['rows']:,}", f"{level['kept']:,}")
        for level in curve["levels"]
    ]
    yield from _table([("share", "at least", "rows", "of them kept then"), *rows], "  ")


def _table(rows: Sequence[Sequence[str]], indent: str = "") -> Iterator[str]:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        yield indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
