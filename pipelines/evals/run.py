"""One evaluation from its rows to its files: ``eval.json`` and ``eval-rows.parquet``."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from potstill import __version__
from potstill.pipelines import schema
from potstill.pipelines.errors import TooManyErrors
from potstill.pipelines.evals.evaluation import Evaluation, Measured
from potstill.pipelines.evals.reading import Reader
from potstill.pipelines.rundir import RunDir

log = logging.getLogger(__name__)
RESULT, ROWS = "eval.json", "eval-rows.parquet"


def evaluate(evaluation: Evaluation, out: str) -> dict[str, Any]:
    """Measure, write both files, return what stands in ``eval.json``.

    Raises :class:`RequestError` for what cannot be measured, and :class:`TooManyErrors` when more rows fail than
    ``max_error_fraction`` allows; then there is only the file of the rows.
    """
    run = RunDir(out)
    run.check_writable()
    model = evaluation.model_identity()
    reader = Reader(evaluation.data, evaluation.columns())
    for name in (RESULT, ROWS):
        run.remove(name)
    log.info("%s rows in %s files", f"{reader.count:,}", reader.files)
    begin = time.monotonic()
    found = evaluation.measure(reader)
    seconds = time.monotonic() - begin
    run.write_table(ROWS, _rows(reader, found))
    failed = [error for error in found.errors if error is not None]
    if len(failed) > evaluation.max_error_fraction * reader.count:
        raise TooManyErrors(
            f"{len(failed)} of {reader.count} rows failed, allowed is a share of {evaluation.max_error_fraction}; the "
            f"first: {type(failed[0]).__name__}: {failed[0]}; all are in {run.path(ROWS)}; allow more with "
            "max_error_fraction"
        )
    result = {
        "kind": evaluation.kind,
        "model": model,
        "rows": reader.count,
        "failed": dict(Counter(type(error).__name__ for error in failed)),
        "left_out": found.left_out,
        "metrics": {name: _plain(asdict(estimate)) for name, estimate in found.metrics.items()},
        "confidence": evaluation.confidence,
        "facts": found.facts,
        "seconds": round(seconds, 3),
        "recipe": evaluation.model_dump(mode="json"),
        "potstill": __version__,
    }
    run.write_json(RESULT, result)
    return result


def _plain(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """The numbers as JSON can hold them: NaN is null."""
    return {name: None if math.isnan(value) else value for name, value in numbers.items()}


def _rows(reader: Reader, found: Measured) -> pa.Table:
    """A row for each row: which one, what was found, and the error of one that failed."""
    named = pa.concat_tables(reader.names, promote_options="permissive")
    table = named if named.num_columns else pa.table({schema.ROW: range(reader.count)})
    for name, values in found.columns.items():
        table = table.append_column(name, pa.array(values))
    errors = [None if error is None else f"{type(error).__name__}: {error}" for error in found.errors]
    return table.append_column(schema.ERROR, pa.array(errors, pa.string()))
