"""How far a judge of a run can be trusted: its verdicts against rows of which the truth is known.

Verdict and truth are conditions or columns, in the language of filters. Known are all columns of the run, the keys of
the JSON in ``meta`` as ``meta_<key>``, and the keys of a file of labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from potstill.config import RequestError
from potstill.models.metrics.judge_calibration import agreement, correlation, detection, position_bias
from potstill.pipelines import schema
from potstill.pipelines.chunk import INPUT
from potstill.pipelines.filters import expression
from potstill.pipelines.report.standing import Standing
from potstill.pipelines.synthesizers.pair_judge import PairJudge

HEAD = ("verdict", "truth", "rows", "compared", "agreement", "kappa", "correlation", "precision", "recall")
BIAS = ("pair judge", "rows", "compared", "consistent", "position bias")
LISTED = 30


def calibrate(directory: str, verdict: str, truth: str, labels: Path | None = None) -> list[list[tuple[str, ...]]]:
    """Tables of text, each with its head: the verdict against the truth, and the pair judges of the run, if any.

    ``labels`` is a JSONL file of objects with ``source`` and anything else. Rows without a verdict, quarantined ones
    too, are not compared; they count as not flagged. Raises :class:`RequestError` for what cannot be compared.
    """
    standing = Standing(directory)
    columns, rows = known(standing, read_labels(labels))
    one, two = values(verdict, columns, rows), values(truth, columns, rows)
    if not any(a is not None and b is not None for a, b in zip(one, two, strict=True)):
        raise RequestError(f"no row has both a verdict {verdict!r} and a truth {truth!r}; compare other columns")
    tables = [[HEAD, (verdict, truth, str(rows), *compared(one, two))]]
    judges = [stage.name for stage in standing.plan.row_stages() if isinstance(stage, PairJudge)]
    if judges:
        tables.append([BIAS, *((name, str(rows), *bias(name, columns)) for name in judges)])
    return tables


def compared(verdicts: Sequence[Any], truths: Sequence[Any]) -> tuple[str, ...]:
    """Rows compared; agreement and kappa, but for fractions; correlation of numbers; precision and recall of flags."""
    found = agreement(verdicts, truths)
    numbers = [value for value in (*verdicts, *truths) if value is not None]
    flags = all(isinstance(value, bool) for value in numbers)
    numeric = not flags and all(isinstance(value, int | float) for value in numbers)
    likeness = _number(correlation(verdicts, truths)) if numeric else "-"
    classes = not numeric or all(float(value).is_integer() for value in numbers)
    equal = (found.share, found.kappa) if classes else (float("nan"),) * 2
    known_truth = [pair for pair in zip(verdicts, truths, strict=True) if pair[1] is not None]
    hits = detection(*zip(*known_truth, strict=True)) if flags else None
    shares = [_number(hits.precision), _number(hits.recall)] if hits else ["-", "-"]
    return (str(found.pairs), *map(_number, equal), likeness, *shares)


def bias(name: str, columns: Mapping[str, pa.ChunkedArray]) -> tuple[str, ...]:
    """Rows asked in both orders, the share with one verdict in both, and the preference for a place, -1 to 1."""
    straight, swapped, same = (
        columns[f"{name}_{noun}"].to_pylist() for noun in ("straight", "swapped", "consistent")
    )  # fmt: skip
    both = [value for value in same if value is not None]
    share = sum(both) / len(both) if both else float("nan")
    return str(len(both)), _number(share), _number(position_bias(straight, swapped))


def known(standing: Standing, labels: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, pa.ChunkedArray], int]:
    """Every column of the run's samples, with the keys of ``meta`` and of the labels, and the number of samples."""
    tables = [standing.part(index, None).table for index in standing.indices]
    if not tables:
        raise RequestError(f"{standing.run.url} has no rows yet; let the run come further")
    table = pa.concat_tables(tables, promote_options="permissive")
    inputs = {name.removeprefix(INPUT): table[name] for name in table.column_names if name.startswith(INPUT)}
    sources, metas = (inputs[name].to_pylist() for name in (schema.SOURCE, schema.META))
    unknown = labels.keys() - set(sources)
    if unknown:
        raise RequestError(f"labels: no row has the source {min(unknown)!r}; sources are such as {sources[0]!r}")
    extra = _columns([labels.get(source, {}) for source in sources], "")
    extra |= _columns([json.loads(meta) if meta else {} for meta in metas], "meta_")
    own = {name: table[name] for name in table.column_names if not name.startswith(INPUT)}
    return {**extra, **inputs, **own}, table.num_rows


def values(text: str, columns: Mapping[str, pa.ChunkedArray], rows: int) -> list[Any]:
    """What a column or condition comes to in each row. Raises :class:`RequestError`."""
    try:
        tree = expression.parse(text)
        missing = [name for name in expression.names(tree) if name not in columns]
        if missing:
            there = ", ".join(sorted(name for name in columns if not name.startswith("_"))[:LISTED])
            raise RequestError(f"{text!r}: the run has no column {missing[0]!r}; columns there: {there}")
        found = expression.value(tree, columns)
    except ValueError as error:
        raise RequestError(str(error)) from error
    return [found.as_py()] * rows if isinstance(found, pa.Scalar) else found.to_pylist()


def read_labels(path: Path | None) -> dict[str, dict[str, Any]]:
    """Source -> its labels. Raises :class:`RequestError` for a file of another form."""
    if path is None:
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {row.pop("source"): row for row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"labels {path}: {type(error).__name__}: {error}; give a JSONL file of objects with `source`"
        ) from error


def _columns(rows: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, pa.ChunkedArray]:
    """Keys as columns; values of mixed kinds, and lists, as JSON."""
    found: dict[str, pa.ChunkedArray] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        column = [row.get(key) for row in rows]
        kinds = {type(value) for value in column if value is not None}
        if kinds not in ({str}, {bool}, {int}, {float}, {int, float}):
            column = [None if value is None else json.dumps(value) for value in column]
        found[f"{prefix}{key}"] = pa.chunked_array([pa.array(column)])
    return found


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
