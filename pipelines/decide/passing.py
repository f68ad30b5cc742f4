"""The way of all rows through a plan, its selectors choosing anew in memory where their choice is not known."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from potstill.config import RequestError
from potstill.pipelines import chunk, schema
from potstill.pipelines.choosing import Chosen, as_table
from potstill.pipelines.plan import Plan
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.selectors.selector import Selector
from potstill.pipelines.stage import RowStage
from potstill.pipelines.walk import Passage, read, walk


def passed(plan: Plan, table: pa.Table, known: Mapping[str, pa.Table]) -> tuple[pa.Table, list[Passage]]:
    """The table with what the selectors chose, and the passages of its rows.

    ``table`` has the rows of the whole run in the order of their ids. ``known`` are choices by the selector's name; one
    counts as long as it is about just the rows that reach the selector.
    """
    for position, stage in enumerate(plan.stages):
        if isinstance(stage, Selector):
            entered = walk(plan, table, position + 1)[-1].entered
            chosen = Chosen(
                stage, _choice(plan, position, stage, table.filter(pa.array(entered)), known.get(stage.name))
            )
            added = chosen.of(table[schema.SAMPLE_ID].to_pylist())
            for name in added.column_names:
                table = table.append_column(name, added[name])
    return table, walk(plan, table)


def _choice(plan: Plan, position: int, stage: Selector, rows: pa.Table, known: pa.Table | None) -> pa.Table:
    """What a selector chooses of some rows."""
    if known is not None and known[schema.SAMPLE_ID].equals(rows[schema.SAMPLE_ID]):
        return known
    columns = read(plan, position, rows, stage.reads())
    with tempfile.TemporaryDirectory() as folder:
        held = RowSet.of(rows[schema.SAMPLE_ID], **columns)
        offered = RowSet(held.blocks, scratch=RunDir(folder))
        try:
            return as_table(stage, offered, stage.select(offered, plan.seed))
        except ValueError as error:
            raise RequestError(f"stage {stage.name!r} cannot choose: {error}") from error


def ways(passages: list[Passage], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Per row whether it is kept in the end, and whether it waits to be computed somewhere on its way: boolean (n,)."""
    kept = passages[-1].kept if passages else np.ones(rows, bool)
    waits = np.any([np.zeros(rows, bool), *(passage.pending for passage in passages)], axis=0)
    return kept, waits


def decisive(plan: Plan) -> list[str]:
    """Columns, as a chunk's table names them, that a walk and the selectors of a plan look at."""
    found = {f"{chunk.INPUT}{schema.SOURCE}"}
    for position, stage in enumerate(plan.stages):
        if isinstance(stage, RowStage):
            gate = stage.gate()
            found |= {gate} if gate else set()
        else:
            found |= set(plan.storage(position, stage.reads()).values())
    return sorted(found)
