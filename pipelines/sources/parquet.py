"""Parquet files with an image column: plain binary, or the struct that Hugging Face data sets use."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from potstill.pipelines.sources.base import Item, MissingImage, RawRow, Source
from potstill.pipelines.sources.files import File, Place, matching, open_file
from potstill.pipelines.sources.parquet_columns import ColumnNames, column_names
from potstill.pipelines.sources.paths import inside, key
from potstill.pipelines.sources.texts import Texts, as_json


class DamagedParquet(ValueError):
    """A Parquet file, or a part of one, that cannot be read."""


class ParquetFiles(Source):
    """One row for each row of the files. Columns that have no place of their own go to ``meta``."""

    kind: Literal["parquet"] = "parquet"
    path: Place
    """A file, a folder, or a glob; local or an fsspec URL."""
    columns: ColumnNames = Field(default=ColumnNames())
    """Which column holds what; found by the usual names unless given."""

    def items(self, max_rows: int, max_bytes: int) -> Iterator[Item]:
        """Slices of row groups; from each file only the footer is read. An unreadable file is one item."""
        for file in matching(self.path, {"parquet"}):
            try:
                with open_file(self.path, file.path) as stream, pq.ParquetFile(stream) as parquet:
                    names = column_names(self.columns, parquet.schema_arrow, file.name)
                    groups = [parquet.metadata.row_group(index) for index in range(parquet.num_row_groups)]
                    sizes = [(group.num_rows, group.total_byte_size) for group in groups]
            except (pa.ArrowException, OSError) as error:
                at = json.dumps({"path": file.path, "name": file.name, "error": f"{error}".splitlines()[0]})
                yield Item(f"{key(file.name)}#damaged", file.version, 1, file.size, at)
                continue
            yield from _slices(file, names, sizes, max_rows, max_bytes)

    def read(self, item: Item) -> Iterator[RawRow]:
        """The rows of a slice. What cannot be read after all is as many rows with that error."""
        at = json.loads(item.at)
        name = key(at["name"])
        if "error" in at:
            error = DamagedParquet(f"{name}: {at['error']}; fetch the file again")
            yield RawRow(source=f"{name}#damaged", error=error)
            return
        done = at["from"]
        try:
            with open_file(self.path, at["path"]) as stream, pq.ParquetFile(stream) as parquet:
                for record in _records(parquet, at):
                    yield self._row(record, at, f"{name}#{at['first'] + done}")
                    done += 1
        except (pa.ArrowException, OSError) as error:
            reason = DamagedParquet(f"{name}: {str(error).splitlines()[0]}; fetch the file again")
            for row in range(done, at["to"]):
                yield RawRow(source=f"{name}#{at['first'] + row}", error=reason)

    def _row(self, record: dict[str, Any], at: dict[str, Any], source: str) -> RawRow:
        names: dict[str, str] = at["names"]
        texts = cast(Texts, {ours: _first_text(record.get(name)) for ours, name in names.items() if ours != "image"})
        rest = {name: value for name, value in record.items() if name not in names.values()}
        meta = as_json({name: value for name, value in rest.items() if value is not None and _is_plain(value)})
        try:
            data, error = self._bytes(record[names["image"]], at["path"]), None
        except (OSError, ValueError) as failure:
            data, error = None, failure
        return RawRow(source=source, image=data, error=error, **texts | {"meta": meta})

    def _bytes(self, value: Any, file: str) -> bytes:
        """The encoded picture in a cell; a path without bytes is read from below the folder of the file."""
        if isinstance(value, bytes):
            return value
        if isinstance(value, dict) and value.get("bytes") is not None:
            return value["bytes"]
        if isinstance(value, dict) and value.get("path"):
            with open_file(self.path, inside(posixpath.dirname(file), value["path"])) as stream:
                return stream.read()
        raise MissingImage("the image cell is null; leave the row out, or fill it")


def _slices(
    file: File, names: dict[str, str], sizes: list[tuple[int, int]], max_rows: int, max_bytes: int
) -> Iterator[Item]:
    """Items of at most ``max_rows`` rows and about ``max_bytes`` bytes, taking the rows of a group as equally large."""
    first = 0
    for group, (rows, size) in enumerate(sizes):
        step = max(1, min(max_rows, int(max_bytes / max(1.0, size / max(1, rows)))))
        for start in range(0, rows, step):
            stop = min(rows, start + step)
            at = {"path": file.path, "name": file.name, "group": group, "from": start, "to": stop, "first": first}
            yield Item(
                key=f"{key(file.name)}#{first + start}-{first + stop}",
                version=file.version,
                rows=stop - start,
                bytes=size * (stop - start) // rows,
                at=json.dumps(at | {"names": names}),
            )
        first += rows


def _records(parquet: pq.ParquetFile, at: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows ``from`` to ``to`` of a row group; what comes before them is decoded but not kept."""
    start = 0
    for batch in parquet.iter_batches(batch_size=64, row_groups=[at["group"]]):
        low, high = max(0, at["from"] - start), min(batch.num_rows, at["to"] - start)
        if low < high:
            yield from batch.slice(low, high - low).to_pylist()
        start += batch.num_rows
        if start >= at["to"]:
            return


def _first_text(value: Any) -> str | None:
    """A text cell; of a list of texts (several captions) the first."""
    if isinstance(value, list):
        value = next((text for text in value if text), None)
    return None if value is None else str(value)


def _is_plain(value: Any) -> bool:
    """Whether a cell goes to ``meta``: a scalar, or a short list of them."""
    if isinstance(value, list):
        return len(value) <= 64 and not any(isinstance(each, bytes | dict | list) for each in value)
    return not isinstance(value, bytes | dict)
