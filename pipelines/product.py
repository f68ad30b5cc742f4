"""The product: the kept rows of each chunk handed to the sinks, and a content hash that order does not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from potstill.pipelines import chunk, members, schema
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.selectors.grouping import Grouping
from potstill.pipelines.sinks.parts import image_name

UNHASHED = frozenset({schema.SOURCE, schema.IMAGE, schema.IMAGES_OF_GROUP})
"""Columns that are no part of the content: of equal pictures any one's place may be named; pictures count by id."""


def product_schema(run: RunDir, plan: Plan, prints: Mapping[str, str], chunks: Sequence[int]) -> pa.Schema:
    """Names and types of the rows that sinks get: input columns, then what the stages wrote, in their order.

    A column that is null in every row everywhere has no type of its own (an embedding nobody computed) and is left out.
    Columns of a stage as it was under other settings say nothing: the older model's embedding may be of another width.
    """
    found: dict[str, pa.DataType] = {}
    for index in chunks:
        if run.exists(chunk.samples_file(index)):
            stored = run.read_schema(chunk.samples_file(index))
            for name in chunk.standing(plan, prints, stored):
                if name in stored.names and not pa.types.is_null(stored.field(name).type):
                    found.setdefault(name, stored.field(name).type)
    fields = {schema.SAMPLE_ID: pa.string()}
    fields |= {name: schema.IMAGES.field(name).type for name in schema.INPUT_COLUMNS}
    for stage in plan.stages:
        for name, kind in stage.writes().items():
            kind = kind if kind is not None else found.get(name)
            if kind is not None:
                fields[name] = kind
    if groups_of(plan):
        fields[schema.IMAGES_OF_GROUP] = schema.PICTURES
    return pa.schema(list(fields.items()))


def groups_of(plan: Plan) -> Grouping | None:
    """The stage that made the groups that the product consists of, if there is one."""
    return next((stage for stage in reversed(plan.stages) if isinstance(stage, Grouping)), None)


def product_rows(
    run: RunDir,
    plan: Plan,
    prints: Mapping[str, str],
    index: int,
    duplicates: Sequence[int],
    kept: np.ndarray,
    to: pa.Schema,
    decided: pa.Table | None = None,
) -> pa.Table:
    """The kept rows of a chunk in the product's schema, without the images (null)."""
    table = chunk.load(run, plan, prints, index, duplicates, decided=decided).filter(pa.array(kept))
    columns: list[pa.Array | pa.ChunkedArray] = []
    for field in to:
        if field.name == schema.IMAGES_OF_GROUP:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        name = field.name if field.name in table.column_names else f"{chunk.INPUT}{field.name}"
        values = table[name] if name in table.column_names else pa.nulls(table.num_rows)
        columns.append(values.cast(field.type))
    return pa.table(columns, schema=to)


def write_chunk(
    url: str,
    plan: Plan,
    prints: Mapping[str, str],
    index: int,
    duplicates: Sequence[int],
    bits: bytes,
    to: pa.Schema,
    decided: pa.Table | None = None,
) -> tuple[int, int, int]:
    """Hand one chunk to every sink. Returns (chunk, rows, sum of the rows' hashes)."""
    run = RunDir(url)
    ids = run.read_table(chunk.images_file(index), [schema.IMAGE_ID, *schema.TEXTS, schema.ERROR])
    samples = chunk.skeleton(ids, duplicates, plan.intake.samples_per_image)
    kept = chunk.unpack(bits, samples.num_rows)
    rows = product_rows(run, plan, prints, index, duplicates, kept, to, decided)
    digest = content_sum(rows)
    if rows.num_rows:
        images = run.read_table(chunk.images_file(index), [schema.IMAGE])[schema.IMAGE]
        pictures = images.take(samples[schema.ROW].filter(pa.array(kept)))
        rows = rows.set_column(rows.column_names.index(schema.IMAGE), to.field(schema.IMAGE), pictures)
        if (group := groups_of(plan)) and decided:
            at = f"{chunk.AT}{group.name}"
            places = rows.append_column(at, decided[at].filter(pa.array(kept)))
            position = rows.column_names.index(schema.IMAGES_OF_GROUP)
            rows = rows.set_column(position, schema.IMAGES_OF_GROUP, _pictures(run, plan, places, group.name))
    for sink in plan.sinks:
        sink.write_part(run, index, rows)
    return index, rows.num_rows, digest


def _pictures(run: RunDir, plan: Plan, rows: pa.Table, group: str) -> pa.Array:
    """The members' pictures, of type :data:`schema.PICTURES`."""
    every = np.ones(rows.num_rows, dtype=bool)
    images, ids, formats = (
        members.gather(run, plan, rows, f"{group}.{name}", every)
        for name in (schema.IMAGE, schema.IMAGE_ID, schema.FORMAT)
    )
    pairs = zip(ids.flatten().to_pylist(), formats.flatten().to_pylist(), strict=True)
    names = pa.array([image_name(*pair) for pair in pairs], pa.string())
    fields = list(schema.PICTURES.value_type)
    pictures = pa.StructArray.from_arrays([images.flatten().cast(pa.binary()), names], fields=fields)
    return pa.ListArray.from_arrays(images.offsets, pictures)


def content_sum(rows: pa.Table) -> int:
    """Sum modulo 2**128 of the xxh3-128 of each row: ids, texts and every computed column, with their names.

    The same rows give the same number in any order and any division into chunks; the image is in it by its id.
    """
    states = [xxhash.xxh3_128() for _ in range(rows.num_rows)]
    for name in sorted(set(rows.column_names) - UNHASHED):
        for state, value in zip(states, _row_bytes(rows[name].combine_chunks()), strict=True):
            state.update(name.encode() + b"\0")
            state.update(b"\0" if value is None else b"\1" + len(value).to_bytes(8, "little") + value)
    return sum(state.intdigest() for state in states) % 2**128


def _row_bytes(column: pa.Array) -> list[bytes | None]:
    kind = column.type
    if pa.types.is_fixed_size_list(kind) and _is_number(kind.value_type):
        width = kind.list_size
        flat = np.asarray(column.values).reshape(-1, width)[column.offset : column.offset + len(column)]
        return [row.tobytes() if ok else None for row, ok in zip(flat, np.asarray(pc.is_valid(column)), strict=True)]
    if _is_number(kind):
        values = np.asarray(column.fill_null(0))
        return [v.tobytes() if ok else None for v, ok in zip(values, np.asarray(pc.is_valid(column)), strict=True)]
    return [None if value is None else _text(value) for value in column.to_pylist()]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _text(value: Any) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode(errors="surrogatepass")
