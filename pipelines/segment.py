"""What is done to one chunk: it is taken in; consecutive row stages see it and add to it; it is committed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from potstill.pipelines import chunk, members, schema
from potstill.pipelines.chunk import Chunk, ConservationError
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.intake import take_in
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.stage import RowStage
from potstill.pipelines.walk import walk
from potstill.pipelines.worker import CHUNK, STATS

IMAGES_READ_AT_ONCE = 32
"""Rows of a row group of ``images/``: members of a group are read from anywhere."""


def take_in_chunk(url: str, plan: Plan, part: Chunk) -> tuple[int, float]:
    """Read a chunk's items and write its ``images/`` file. Returns (rows, seconds)."""
    started = time.perf_counter()
    run = RunDir(url)
    rows = take_in((row for item in part.items for row in plan.source.read(item)), plan.intake)
    if rows.num_rows != part.rows:
        raise ConservationError(f"chunk {part.index}: {part.rows} rows were listed and {rows.num_rows} were read")
    digest = {chunk.DIGEST: part.digest.encode()}
    run.write_table(part.images, rows.replace_schema_metadata(digest), IMAGES_READ_AT_ONCE)
    return rows.num_rows, time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """What a read task must know of a chunk: its number, which rows are duplicates, what selectors have decided."""

    index: int
    duplicates: tuple[int, ...]
    decided: pa.Table | None


@dataclass(frozen=True, slots=True)
class Segment:
    """Stages [start, stop) of a plan as one job; ``groups`` are the positions that share an actor each, none without
    actors."""

    plan: Plan
    run: RunDir
    fingerprints: Mapping[str, str]
    attempt: str
    start: int
    stop: int
    groups: tuple[tuple[int, ...], ...] = ()

    def stages(self) -> list[RowStage]:
        """The row stages of the segment."""
        return [stage for stage in self.plan.stages[self.start : self.stop] if isinstance(stage, RowStage)]

    def positions(self) -> list[int]:
        """Where those stand in the plan."""
        return [place for place in range(self.start, self.stop) if isinstance(self.plan.stages[place], RowStage)]

    def read(self, read: ChunkRead) -> pa.Table:
        """The chunk's table on its way into the actors: what they read, with the bytes of the images they will need."""
        columns = {schema.ERROR, *self.run_columns()}
        table = chunk.load(
            self.run, self.plan, self.fingerprints, read.index, read.duplicates, sorted(columns), read.decided
        )
        table = table.append_column(CHUNK, pa.array([read.index] * table.num_rows, pa.int32()))
        wanted = {name for stage in self.stages() for name in stage.reads()}
        pending = np.any([passage.pending for passage in walk(self.plan, table, self.stop)], axis=0)
        if schema.IMAGE in wanted:
            images = self.run.read_table(chunk.images_file(read.index), [schema.IMAGE])[schema.IMAGE]
            rows = pa.array(np.where(pending, np.asarray(table[schema.ROW]), -1))
            rows = pc.if_else(pc.equal(rows, -1), None, rows)
            table = table.append_column(f"{chunk.INPUT}{schema.IMAGE}", images.take(rows))
        for name in sorted(name for name in wanted if "." in name):
            table = table.append_column(name, members.gather(self.run, self.plan, table, name, pending))
        return table

    def run_columns(self) -> set[str]:
        """Computed columns that the segment's stages, or the decisions up to its end, look at."""
        names: set[str] = set()
        for stage in self.plan.stages[: self.stop]:
            if isinstance(stage, RowStage):
                names.update({stage.gate() or ""})
            elif isinstance(stage, Filter):
                names.update(stage.reads())
        for stage in self.stages():
            names.update(stage.reads(), stage.writes())
        return names - {""}

    def commit(self, table: pa.Table) -> pa.Table:
        """Write the chunk; return one row about it."""
        index = table[CHUNK][0].as_py()
        errors = sum(int(each.quarantined.sum()) for each in walk(self.plan, table, self.stop))
        written = {name for stage in self.stages() for name in stage.writes()} | set(chunk.marks(self.plan))
        keep = [schema.SAMPLE_ID, schema.IMAGE_ID, schema.ROW, schema.ERROR]
        names = [name for name in table.column_names if name in written or name.startswith(chunk.DONE)]
        chunk.commit(self.run, self.plan, self.fingerprints, index, table.select([*keep, *names]))
        stats = table[STATS][0].as_py() if STATS in table.column_names else "{}"
        return pa.table({CHUNK: [index], "rows": [table.num_rows], "errors": [errors], STATS: [stats]})
