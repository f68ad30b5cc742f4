"""Columns of rows that a selector names, ``<group>.<column>``, read where these rows' chunks keep them."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from potstill.pipelines import chunk, schema
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir

PLACE = pa.struct([("chunk", pa.int32()), ("row", pa.int32()), ("aside", pa.string())])
"""Where a member is, and a hash of what its id says nothing of (source, licence, ``meta``)."""


def places(index: int, table: pa.Table) -> pa.Table:
    """Where the rows of a chunk's table are: ``sample_id`` and ``place``."""
    aside = zip(*(table[f"{chunk.INPUT}{name}"].to_pylist() for name in schema.ASIDE), strict=True)
    hashes = [xxhash.xxh3_64_hexdigest(json.dumps(row).encode()) for row in aside]
    fields = [pa.array([index] * len(table), pa.int32()), table[schema.ROW].combine_chunks().cast(pa.int32())]
    place = pa.StructArray.from_arrays([*fields, pa.array(hashes, pa.string())], fields=list(PLACE))
    return pa.table({schema.SAMPLE_ID: table[schema.SAMPLE_ID], "place": place})


def locate(known: Mapping[int, pa.Table], groups: Mapping[int, pa.ChunkedArray]) -> dict[int, pa.Array]:
    """Per chunk, the places of the members of its rows' groups: lists of :data:`PLACE`, null without a group."""
    every = pa.concat_tables(list(known.values()))
    found: dict[int, pa.Array] = {}
    for index, ids in groups.items():
        flat = ids.combine_chunks().flatten()
        where = every["place"].combine_chunks().take(pc.index_in(flat, value_set=every[schema.SAMPLE_ID]))
        found[index] = _lists(ids.combine_chunks(), where)
    return found


def gather(run: RunDir, plan: Plan, table: pa.Table, name: str, where: np.ndarray) -> pa.Array:
    """The column ``name`` of the members of each row in ``where`` (boolean, n): lists in the order of the ids."""
    group, _, column = name.partition(".")
    mask = pa.array(where)
    ids = pc.if_else(mask, table[f"{group}_ids"].combine_chunks(), None)
    at = pc.if_else(mask, table[f"{chunk.AT}{group}"].combine_chunks(), None).flatten()
    chunks, rows = (np.asarray(at.field(each)) for each in ("chunk", "row"))
    flat = ids.flatten()
    order: list[np.ndarray] = []
    parts: list[pa.Array] = []
    for index in np.unique(chunks).tolist():
        mine = np.flatnonzero(chunks == index)
        order.append(mine)
        parts.append(_values(run, plan, group, column, index, rows[mine], flat.take(pa.array(mine))))
    values = pa.concat_arrays(parts) if parts else pa.nulls(0)
    back = np.argsort(np.concatenate(order)) if order else np.array([], np.int64)
    return _lists(ids, values.take(pa.array(back)))


def _values(run: RunDir, plan: Plan, group: str, column: str, index: int, rows: np.ndarray, ids: pa.Array) -> pa.Array:
    """A column of some rows of a chunk: as the source brought it, or as a stage before the group wrote it."""
    position = next(position for position, stage in enumerate(plan.stages) if stage.name == group)
    if plan.storage(position, [column])[column] != column:
        return run.read_rows(chunk.images_file(index), [column], rows)[column].combine_chunks()
    stored = run.read_table(chunk.samples_file(index), [schema.SAMPLE_ID, column])
    return stored[column].combine_chunks().take(pc.index_in(ids, value_set=stored[schema.SAMPLE_ID]))


def _lists(like: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """``values`` cut into lists as long as those of ``like``."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(like), 0))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, values, mask=pc.is_null(like))
