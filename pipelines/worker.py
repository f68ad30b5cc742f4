"""Running row stages over one chunk's table: only the rows that need it, in batches, losing nothing.

A batch that raises is cut in halves until the rows that raise stand alone; those go to quarantine. A batch that kills
its worker leaves a note behind: its rows are then computed alone, in ever smaller groups, and a row that kills its
worker once more when it stands alone goes to quarantine as well.

Several chunks may be on their way through one worker, each in a thread of its own.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import methodcaller
from typing import Any

import numpy as np
import pyarrow as pa

from potstill.pipelines import schema
from potstill.pipelines.chunk import DONE, ConservationError
from potstill.pipelines.clock import Clock
from potstill.pipelines.notes import NOTES, Note, Turns
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.stage import BatchFn, RowStage, WorkerFault, side_by_side
from potstill.pipelines.walk import read, walk

CHUNK = "_chunk"
"""Column, in a table on its way through the actors, with the chunk's number."""
STATS = "_stats"
"""Column with a JSON object: per stage, rows computed and seconds."""
MESSAGE_LIMIT = 2000
WORKER_FAULT_EXIT = 70
Lane = AbstractContextManager[Any]

logger = logging.getLogger(__name__)


class ContractError(Exception):
    """A stage returned something else than it promised: its code is wrong, and the run fails."""


class WorkerDied(Exception):
    """The process that computed this row ended before it could answer, at last with no other row beside it."""

    def __init__(self, deaths: int) -> None:
        super().__init__(f"the worker process died {deaths} times with this row, at last alone; see the cluster's logs")
        self.deaths = deaths


class Worker:
    """Stages of one actor, applied to the tables of chunks. Safe to call from several threads.

    A stage is built once, when the first row needs it: a model for which no row is left is not loaded.
    A stage that works on one chunk at a time holds ``one`` meanwhile: never are two such stages called at once.
    """

    def __init__(
        self,
        plan: Plan,
        positions: Sequence[int],
        run: RunDir,
        attempt: str,
        one: Lane | None = None,
        build: Callable[[RowStage], BatchFn] = methodcaller("build"),
    ) -> None:
        self._plan, self._positions, self._run, self._attempt = plan, positions, run, attempt
        stages = [plan.stages[position] for position in positions]
        self._built: dict[int, BatchFn] = {}
        self._build, self._building = build, threading.Lock()
        self._turns, self._clocks = Turns(), {position: Clock() for position in positions}
        one = one or threading.Lock()
        self._lanes: dict[int, Lane] = {}
        for position, stage in zip(positions, stages, strict=True):
            most = side_by_side(stage, plan.resources_of(stage)) if isinstance(stage, RowStage) else 1
            self._lanes[position] = threading.BoundedSemaphore(most) if most > 1 else one

    def __call__(self, table: pa.Table) -> pa.Table:
        """The chunk with what its pending rows lacked; raises :class:`ConservationError` if not exactly its samples."""
        ids = table[schema.SAMPLE_ID].to_pylist()
        for position in self._positions:
            table = self._advance(table, position)
        check_complete(table, ids)
        return table

    def _advance(self, table: pa.Table, position: int) -> pa.Table:
        stage = self._plan.stages[position]
        assert isinstance(stage, RowStage)
        pending = walk(self._plan, table, position + 1)[-1].pending
        if not pending.any():
            return table
        fn = self._function(position, stage)
        with self._lanes[position], self._clocks[position].run() as seconds:
            columns = {name: table[name] for name in (schema.SAMPLE_ID, schema.IMAGE_ID)}
            columns |= read(self._plan, position, table, stage.reads())
            rows = pa.table(columns).filter(pa.array(pending))
            name = f"{NOTES}/{self._attempt}/{stage.name}-{table[CHUNK][0].as_py()}.json"
            size = self._plan.resources_of(stage).batch_rows or stage.batch_rows
            outputs, errors = compute(stage, fn, rows, size, Note(self._run, name, self._turns))
            table = _merge(table, pending, stage, outputs, errors)
        return _add_stats(table, stage.name, {"rows": rows.num_rows, "seconds": seconds()})

    def _function(self, position: int, stage: RowStage) -> BatchFn:
        with self._building:
            if position not in self._built:
                self._built[position] = self._build(stage)
            return self._built[position]


def compute(
    stage: RowStage, fn: BatchFn, rows: pa.Table, size: int, note: Note
) -> tuple[dict[str, pa.Array], list[dict[str, Any] | None]]:
    """Written columns and errors for ``rows``, in their order."""
    ids = rows[schema.SAMPLE_ID].to_pylist()
    known = note.poison.union(*note.suspects)
    calm = [position for position, id_ in enumerate(ids) if id_ not in known]
    batches = [(False, calm[start : start + size]) for start in range(0, len(calm), size)]
    groups = [[position for position, id_ in enumerate(ids) if id_ in set(group)] for group in note.suspects]
    batches += [(True, group) for group in groups if group]
    order: list[int] = []
    parts: list[dict[str, pa.Array]] = []
    errors: list[Exception | None] = []
    for alone, batch in batches:
        with note.computing([ids[position] for position in batch], alone=alone):
            outputs, failed = _call(stage, fn, rows.take(batch))
        order += batch
        parts.append(outputs)
        errors += failed
    for position in (position for position, id_ in enumerate(ids) if id_ in note.poison):
        order.append(position)
        parts.append({name: pa.nulls(1) for name in stage.writes()})
        errors.append(WorkerDied(note.deaths[ids[position]]))
    back = np.argsort(order)
    columns = {name: join([part[name] for part in parts]).take(pa.array(back)) for name in stage.writes()}
    return columns, [_as_error(stage, errors[position], ids[row]) for row, position in enumerate(back)]


def _call(stage: RowStage, fn: BatchFn, rows: pa.Table) -> tuple[dict[str, pa.Array], list[Exception | None]]:
    """One call, and on an exception two calls on the halves, down to single rows."""
    try:
        result = fn(rows)
    except WorkerFault:
        logger.exception("stage %s: the worker cannot go on and is replaced", stage.name)
        os._exit(WORKER_FAULT_EXIT)
    except Exception as error:  # noqa: BLE001 (whatever a stage raises is the row's, and is kept with it)
        if rows.num_rows == 1:
            return {name: pa.nulls(1) for name in stage.writes()}, [error]
        middle = rows.num_rows // 2
        left, left_errors = _call(stage, fn, rows.slice(0, middle))
        right, right_errors = _call(stage, fn, rows.slice(middle))
        return {name: join([left[name], right[name]]) for name in left}, left_errors + right_errors
    return _checked(stage, result, rows.num_rows)


def _checked(
    stage: RowStage, result: Mapping[str, Any], rows: int
) -> tuple[dict[str, pa.Array], list[Exception | None]]:
    """The result as Arrow arrays. Raises :class:`ContractError` when it is not what the stage promised."""
    promised = stage.writes()
    if not isinstance(result, Mapping):
        raise ContractError(f"stage {stage.name!r} returned a {type(result).__name__}, not columns by name")
    got = set(result) - {schema.ERROR}
    if got != set(promised):
        raise ContractError(f"stage {stage.name!r} promised columns {sorted(promised)} and returned {sorted(got)}")
    errors = list(result.get(schema.ERROR, [None] * rows))
    arrays: dict[str, pa.Array] = {}
    for name, kind in promised.items():
        try:
            arrays[name] = _array(result[name], kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise ContractError(
                f"stage {stage.name!r} returned {name!r} that is no column of {kind}: {error}"
            ) from error
    for name, length in ((name, len(value)) for name, value in {**arrays, schema.ERROR: errors}.items()):
        if length != rows:
            raise ContractError(f"stage {stage.name!r} got {rows} rows and returned {length} values of {name!r}")
    return arrays, errors


def _array(values: Any, kind: pa.DataType | None) -> pa.Array:
    """A returned sequence as one Arrow array of the promised type."""
    if isinstance(values, pa.ChunkedArray):
        values = join(values.chunks) if values.num_chunks else pa.array([], values.type)
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    return array.cast(kind) if kind is not None and array.type != kind else array


def join(parts: Sequence[pa.Array | pa.ChunkedArray]) -> pa.Array:
    """Arrays end to end; an all-null array takes the type of the others."""
    flat = [part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part for part in parts]
    kind = next((part.type for part in flat if not pa.types.is_null(part.type)), pa.null())
    return pa.concat_arrays([pa.nulls(len(part), kind) if pa.types.is_null(part.type) else part for part in flat])


def _as_error(stage: RowStage, error: Exception | None, id_: str) -> dict[str, Any] | None:
    if error is None:
        return None
    attempts = error.deaths if isinstance(error, WorkerDied) else 1
    logger.info("stage %s: row %s goes to quarantine: %s: %s", stage.name, id_, type(error).__name__, error)
    return {
        "stage": stage.name,
        "type": type(error).__name__,
        "message": str(error)[:MESSAGE_LIMIT].encode(errors="backslashreplace").decode(),
        "attempts": attempts,
    }


def _merge(
    table: pa.Table,
    pending: np.ndarray,
    stage: RowStage,
    outputs: Mapping[str, pa.Array],
    errors: Sequence[dict[str, Any] | None],
) -> pa.Table:
    """The chunk's table with the new values in the rows that were pending, and nothing else changed."""
    failed = np.array([error is not None for error in errors])
    where = np.flatnonzero(pending)
    ran = np.zeros(table.num_rows, dtype=bool)
    ran[where[~failed]] = True
    for name, values in outputs.items():
        table = _scatter(table, name, ran, values.filter(pa.array(~failed)))
    table = _scatter(table, f"{DONE}{stage.name}", ran, pa.array([True] * int(ran.sum()), pa.bool_()))
    broken = np.zeros(table.num_rows, dtype=bool)
    broken[where[failed]] = True
    struck = pa.array([error for error in errors if error is not None], schema.ERROR_TYPE)
    return _scatter(table, schema.ERROR, broken, struck)


def _scatter(table: pa.Table, name: str, where: np.ndarray, values: pa.Array) -> pa.Table:
    """The table with ``values`` put, in order, into the rows ``where`` of a column, which is made if it is missing."""
    old = table[name] if name in table.column_names else pa.nulls(table.num_rows)
    both = join([old, values])
    positions = np.arange(table.num_rows)
    positions[where] = table.num_rows + np.arange(len(values))
    column = both.take(pa.array(positions))
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)


def _add_stats(table: pa.Table, stage: str, numbers: Mapping[str, float]) -> pa.Table:
    before = json.loads(table[STATS][0].as_py()) if STATS in table.column_names else {}
    text = json.dumps({**before, stage: numbers})
    column = pa.array([text] * table.num_rows, pa.string())
    if STATS in table.column_names:
        return table.set_column(table.column_names.index(STATS), STATS, column)
    return table.append_column(STATS, column)


def check_complete(table: pa.Table, expected: Sequence[str]) -> None:
    """Raises :class:`ConservationError` unless the table holds exactly the samples that the chunk has."""
    got = table[schema.SAMPLE_ID].to_pylist()
    if got != list(expected):
        raise ConservationError(
            f"{len(expected)} samples were read and {len(got)} came back ({len(set(expected) - set(got))} missing)"
        )
