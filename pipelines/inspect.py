"""Questions about a run directory: how far it is, why a row is in or out, and which failed rows to try again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from potstill.config import RequestError
from potstill.pipelines import chunk, schema
from potstill.pipelines.report.explanation import explain
from potstill.pipelines.report.standing import RUN_FILE, Standing, count
from potstill.pipelines.rundir import RunDir

REQUEUED = "requeued"
"""State of a run whose quarantine was opened and which waits for the next ``potstill run``."""


def status_of(directory: str) -> dict[str, Any]:
    """What ``run.json`` holds, with ``chunks_done``, and with counts of what stands where the run has not ended.

    Reads only; a run that goes on in the directory is not disturbed. The state of a run whose process is gone is
    ``interrupted``. Raises :class:`RequestError` when the directory holds no run.
    """
    standing = Standing(directory)
    if standing.summary["state"] == "done":
        return {**standing.summary, "chunks_done": standing.summary["chunks"]}
    ledger = standing.new_ledger()
    done = 0
    for part in standing.parts():
        count(ledger, part)
        done += part.done
    return {
        **standing.summary,
        "state": standing.state,
        "chunks": max(standing.summary["chunks"], len(standing.indices)),
        "chunks_done": done,
        "stages": standing.counts(ledger),
    }


def explain_row(directory: str, id_or_source: str) -> Iterator[str]:
    """Lines that say what became of a row, stage by stage; several rows that match are listed.

    ``id_or_source`` is a sample id or image id (its first 6 hex digits are enough) or a source. Raises
    :class:`RequestError` when no row matches.
    """
    yield from explain(Standing(directory), id_or_source)


def requeue_rows(directory: str, stage: str | None = None) -> int:
    """Take the rows of one stage, or all, out of quarantine and return how many: the next run tries them again.

    Raises :class:`RequestError` for an unknown stage, or while a run holds the directory.
    """
    with Standing(directory).run.lock():
        standing = Standing(directory)
        steps = ["intake", *(each.name for each in standing.plan.row_stages())]
        if stage is not None and stage not in steps:
            raise RequestError(f"no stage {stage!r} can fail rows in this run; stages: {', '.join(steps)}")
        rows = 0
        for index in standing.indices:
            if stage in (None, "intake"):
                rows += _requeue_intake(standing.run, index)
            if stage != "intake":
                rows += _requeue_samples(standing.run, index, stage)
        for name in steps if stage is None else [stage]:
            standing.run.remove(f"quarantine/{name}.parquet")
        if rows:
            standing.run.write_json(RUN_FILE, {**standing.summary, "state": REQUEUED})
    return rows


def _requeue_intake(run: RunDir, index: int) -> int:
    """Mark a chunk with rows that the intake refused as out of date; its file stays until it is taken in anew."""
    file = chunk.images_file(index)
    if not run.exists(file):
        return 0
    metadata = run.read_schema(file).metadata or {}
    errors = run.read_table(file, [schema.ERROR])[schema.ERROR]
    failed = len(errors) - errors.null_count
    if not failed or metadata.get(chunk.DIGEST) == b"":
        return 0
    run.write_table(file, run.read_table(file).replace_schema_metadata({**metadata, chunk.DIGEST: b""}))
    return failed


def _requeue_samples(run: RunDir, index: int, stage: str | None) -> int:
    """Clear the errors of a stage, or all, in a chunk's computed columns."""
    file = chunk.samples_file(index)
    if not run.exists(file):
        return 0
    table = run.read_table(file)
    errors = table[schema.ERROR].combine_chunks()
    failed = errors.is_valid()
    if stage is not None:
        failed = pc.and_(failed, pc.equal(pc.struct_field(errors, "stage"), stage).fill_null(False))
    rows = int(pc.sum(failed).as_py() or 0)
    if rows:
        positions = pc.if_else(failed, None, pa.array(range(len(errors)), pa.int64()))
        run.write_table(
            file, table.set_column(table.column_names.index(schema.ERROR), schema.ERROR, errors.take(positions))
        )
    return rows
