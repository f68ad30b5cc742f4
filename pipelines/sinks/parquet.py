"""Parquet that ``datasets.load_dataset``, pandas, DuckDB and Ray read, with the pictures as a Hugging Face feature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from potstill.pipelines import schema
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.sinks.base import Sink
from potstill.pipelines.sinks.card import dataset_card
from potstill.pipelines.sinks.parts import chosen, image_name, part, prune

FOLDER = "dataset"
HF_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The storage type of the ``Image`` feature of Hugging Face ``datasets``."""


class Parquet(Sink):
    """``dataset/part-NNNNN.parquet`` and ``dataset/README.md``."""

    kind: Literal["parquet"] = "parquet"
    columns: tuple[str, ...] | None = None
    """Columns to write, in this order; all but embeddings unless given."""
    embeddings: bool = False
    """Write embedding columns too."""
    row_group_bytes: int = Field(default=32 << 20, ge=1 << 10)
    """About the size of a row group, so that a reader may take a part of a file."""

    def write_part(self, run: RunDir, chunk: int, rows: pa.Table) -> None:
        """One file per chunk, none for a chunk without rows."""
        name = part(FOLDER, chunk, "parquet")
        if rows.num_rows == 0:
            run.remove(name)
            return
        table = _product(rows, chosen(rows.schema, self.columns, embeddings=self.embeddings))
        run.write(name, lambda file: self._write(table, file))

    def finish(self, run: RunDir, chunks: Sequence[int], card: Mapping[str, Any]) -> None:
        """Give all parts one schema, remove the parts of other chunks, write the card."""
        names = [f"{FOLDER}/{name}" for name in prune(run, FOLDER, set(chunks))]
        schemas = {name: run.read_schema(name) for name in names}
        if schemas:
            common = _common(list(schemas.values()))
            for name, own in schemas.items():
                if not own.equals(common, check_metadata=True):
                    table = _cast(run.read_table(name), common)
                    run.write(name, lambda file, table=table: self._write(table, file))
        licences = [run.read_table(name, [schema.LICENCE]) for name in names]
        run.write_bytes(f"{FOLDER}/README.md", dataset_card(licences, card))

    def _write(self, table: pa.Table, file: IO[bytes]) -> None:
        """Encoded pictures are stored as they are: no codec and no dictionary helps them."""
        group = max(1, int(self.row_group_bytes / max(1.0, table.nbytes / table.num_rows)))
        plain = [field.name for field in table.schema if pa.types.is_string(field.type)]
        codecs = {path: "NONE" if path == f"{schema.IMAGE}.bytes" else "ZSTD" for path in _leaves(table.schema)}
        options: Any = {"compression": codecs, "use_dictionary": plain}  # by column; the stubs only know one for all
        pq.write_table(table, file, row_group_size=group, **options)


def _leaves(columns: pa.Schema) -> list[str]:
    """Paths of the physical columns, as Parquet names them."""
    sink = pa.BufferOutputStream()
    pq.ParquetWriter(sink, columns).close()
    layout = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [layout.column(index).path for index in range(len(layout))]


def _product(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """The rows as they go out: chosen columns, the image with a safe file name, features in the metadata."""
    table = rows.select(names)
    if schema.IMAGE in names:
        ids, formats = rows[schema.IMAGE_ID].to_pylist(), rows[schema.FORMAT].to_pylist()
        paths = pa.array([image_name(*pair) for pair in zip(ids, formats, strict=True)], pa.string())
        data = pc.cast(rows[schema.IMAGE], pa.binary()).combine_chunks()
        image = pa.StructArray.from_arrays([data, paths], fields=list(HF_IMAGE))
        table = table.set_column(names.index(schema.IMAGE), schema.IMAGE, image)
    return table.cast(_described(table.schema))


def _described(columns: pa.Schema) -> pa.Schema:
    """The same columns, all nullable, with the features that ``datasets`` looks for in the metadata."""
    fields = [pa.field(field.name, field.type) for field in columns]
    features = {field.name: _feature(field.type) for field in fields}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """The Hugging Face feature of an Arrow type."""
    if kind == HF_IMAGE:
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    names = {"float": "float32", "double": "float64", "halffloat": "float16"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}


def _common(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """One schema for parts that were written apart: a column that was empty in one part takes its type from another."""
    merged = pa.unify_schemas([pa.schema(list(each)) for each in schemas], promote_options="default")
    fields = [
        field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in merged
    ]  # fmt: skip
    return _described(pa.schema(fields))


def _cast(table: pa.Table, columns: pa.Schema) -> pa.Table:
    arrays = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in columns
    ]
    return pa.table(arrays, schema=columns)
