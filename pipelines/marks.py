"""What stages read that a sample's id says nothing of: remembered by a hash per row, and noticed when it changes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from potstill.pipelines import schema
from potstill.pipelines.plan import Plan

DONE = "_done_"
"""Prefix of the boolean columns that say for which rows a stage has run."""
ASIDE = "_aside"
"""Column with a hash of what stages read of the input beside image and texts."""
BY = "_by_"
"""Prefix of the columns with a hash of what stages read of a selector's columns."""
INPUT = "_input_"
"""Prefix, in a chunk's table, of the columns that came with the source."""


def marks(plan: Plan) -> dict[str, tuple[list[str], list[str]]]:
    """Columns with the hash of what a sample's id does not say of it: name -> (columns hashed, stages that depend).

    Ids say what image and texts a sample has. What else row stages read, of the source (``meta``, say) or of what a
    selector wrote, is remembered per row as a hash, and compared.
    """
    found = {f"{BY}{by}" if by else ASIDE: entry for by, entry in plan.reads_aside().items()}
    inputs, stages = found.get(ASIDE, ([], []))
    return found | ({ASIDE: ([f"{INPUT}{name}" for name in inputs], stages)} if inputs else {})


def void_changed(table: pa.Table, mark: str, aside: Sequence[str], stages: Sequence[str]) -> pa.Table:
    """The table without what ``stages`` computed from columns ``aside`` that have changed; as it is before a choice."""
    if not set(aside) <= set(table.column_names):
        return table
    rows = zip(*(table[name].to_pylist() for name in aside), strict=True)
    now = pa.array(
        [xxhash.xxh3_128_hexdigest(json.dumps([aside, row], default=str).encode()) for row in rows], pa.string()
    )
    before = table[mark] if mark in table.column_names else pa.nulls(len(table), pa.string())
    stands = pc.fill_null(pc.equal(before, now), fill_value=False)
    for name in (f"{DONE}{stage}" for stage in stages):
        if name in table.column_names:
            done = pc.and_kleene(table[name], stands)
            table = table.set_column(table.column_names.index(name), name, done)
    errors = table[schema.ERROR].combine_chunks()
    theirs = pc.is_in(pc.struct_field(errors, "stage"), value_set=pa.array(stages, pa.string()))
    keep = pc.or_kleene(pc.invert(theirs), stands)
    errors = errors.take(pc.if_else(keep, pa.array(range(len(errors)), pa.int64()), None))
    table = table.set_column(table.column_names.index(schema.ERROR), schema.ERROR, errors)
    rest = [name for name in table.column_names if name != mark]
    return table.select(rest).append_column(mark, now)
