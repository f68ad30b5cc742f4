"""Where each row of a chunk stands: the plan followed from column to column, without running anything.

Decisions are never stored as state. They follow from the columns each time, so a changed threshold, a resumed run and
a new stage are the same operation: walk, see what is missing, compute just that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from potstill.pipelines import chunk, schema
from potstill.pipelines.filters.filter import Filter
from potstill.pipelines.plan import Plan
from potstill.pipelines.selectors.selector import Selector
from potstill.pipelines.stage import RowStage


@dataclass(frozen=True, slots=True)
class Passage:
    """What happened to the rows of a chunk at one stage; boolean arrays over all its rows."""

    stage: str
    entered: np.ndarray
    pending: np.ndarray
    """Entered, and the stage has yet to run (or to choose)."""
    quarantined: np.ndarray
    reasons: np.ndarray
    """Why a row was dropped here; ``None`` for the others."""

    @property
    def dropped(self) -> np.ndarray:
        """Rows that go no further by this stage's decision."""
        return np.not_equal(self.reasons, None)

    @property
    def kept(self) -> np.ndarray:
        """Rows that go on."""
        return self.entered & ~self.pending & ~self.quarantined & ~self.dropped


def walk(plan: Plan, table: pa.Table, stop: int | None = None) -> list[Passage]:
    """The passage of a chunk's rows through the stages before ``stop``.

    The table tells by its columns what stages have computed, and which selectors have chosen.
    """
    passages: list[Passage] = []
    alive = np.ones(table.num_rows, dtype=bool)
    for position, stage in enumerate(plan.stages[:stop]):
        passage = _pass(plan, position, stage, table, alive)
        passages.append(passage)
        alive = passage.kept
    return passages


def _pass(plan: Plan, position: int, stage: object, table: pa.Table, alive: np.ndarray) -> Passage:
    nothing = np.zeros(len(alive), dtype=bool)
    reasons = np.full(len(alive), None, dtype=object)
    match stage:
        case RowStage():
            quarantined = alive & chunk.blocked(table, stage)
            pending = alive & ~done(table, stage) & ~quarantined
            gate = stage.gate()
            if gate and gate in table.column_names:
                open_ = alive & ~pending & ~quarantined
                reasons[open_] = np.array(table[gate].to_pylist(), dtype=object)[open_]
            return Passage(stage.name, alive, pending, quarantined, reasons)
        case Filter():
            found = stage.decide(read(plan, position, table, stage.reads()), table.num_rows)
            reasons[alive] = found[alive]
            return Passage(stage.name, alive, nothing, nothing, reasons)
        case Selector():
            why = f"{chunk.WHY}{stage.name}"
            if why not in table.column_names:
                return Passage(stage.name, alive, alive, nothing, reasons)
            reasons[alive] = np.array(table[why].to_pylist(), dtype=object)[alive]
            return Passage(stage.name, alive, nothing, nothing, reasons)
    raise TypeError(f"{type(stage).__name__} is no stage that a run can pass")


def done(table: pa.Table, stage: RowStage) -> np.ndarray:
    """Rows for which a stage has run."""
    name = f"{chunk.DONE}{stage.name}"
    if name not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool)
    return np.asarray(table[name].fill_null(False).combine_chunks())


def read(plan: Plan, position: int, table: pa.Table, columns: tuple[str, ...]) -> dict[str, pa.ChunkedArray | pa.Array]:
    """The columns as the stage at ``position`` sees them; one that was never computed for this chunk is all null."""
    stored = plan.storage(position, columns)
    have = set(table.column_names)
    return {name: table[at] if at in have else pa.nulls(table.num_rows) for name, at in stored.items()}


def columns_of_decisions(plan: Plan) -> list[str]:
    """Computed columns that a walk over the whole plan looks at."""
    names: list[str] = [schema.ERROR]
    for stage in plan.stages:
        if isinstance(stage, RowStage):
            gate = stage.gate()
            names += [gate] if gate else []
        elif isinstance(stage, Filter):
            names += stage.reads()
    return names
