"""Rows of curated Parquet by row group, local or on any fsspec URL."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from potstill.config import RequestError
from potstill.models.trainers.order import Order
from potstill.models.trainers.settings import Data, Rows

EPOCH = "_epoch"
"""Column that says in which pass over the data a row was read, from 1; augmentation is drawn from it and the id."""
FOOTERS_AT_ONCE = 16


@dataclass(frozen=True)
class Groups:
    """Row groups of files; ``kept`` are the rows of each that count, None for all."""

    settings: Rows
    columns: tuple[str, ...]
    files: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    """File and number of the group within it."""
    sizes: tuple[int, ...]
    kept: tuple[np.ndarray | None, ...]

    @cached_property
    def _system(self) -> Any:
        return _system(self.settings)[0]

    def order(self, data: Data, seed: int) -> Order:
        """The order in which a training sees them."""
        return Order(self.sizes, data.window, seed, data.shuffle)

    def read(self, rows: np.ndarray) -> pa.Table:
        """Rows of an order, in that order, with :data:`EPOCH`."""
        tables, position = [], np.empty(len(rows), np.int64)
        done = 0
        for group in np.unique(rows["group"]):
            mine = np.flatnonzero(rows["group"] == group)
            within = rows["row"][mine]
            kept = self.kept[group]
            tables.append(
                self._group(int(group), self.columns).take(pa.array(within if kept is None else kept[within]))
            )
            position[mine] = np.arange(done, done + len(mine))
            done += len(mine)
        table = pa.concat_tables(tables, promote_options="default").take(pa.array(position))
        return table.append_column(EPOCH, pa.array(rows["epoch"]))

    def whole(self, columns: Sequence[str]) -> pa.Table:
        """These columns of all rows that count, in the order of the files."""
        parts = []
        for group, kept in enumerate(self.kept):
            table = self._group(group, columns)
            parts.append(table.slice(0, self.sizes[group]) if kept is None else table.take(pa.array(kept)))
        return pa.concat_tables(parts, promote_options="default")

    def _group(self, group: int, columns: Sequence[str]) -> pa.Table:
        file, index = self.places[group]
        with self._system.open(self.files[file], "rb") as opened:
            return pq.ParquetFile(opened).read_row_group(index, columns=list(columns))


def groups(settings: Rows, columns: Sequence[str]) -> Groups:
    """The row groups that settings name. Raises :class:`RequestError` for no file, no row, or a missing column."""
    system, patterns = _system(settings)
    files = sorted({str(name) for pattern in patterns for name in _files(system, pattern)})
    if not files:
        raise RequestError(f"no Parquet file at {_said(settings)}: give a run directory, a folder, a file or a glob")
    places, sizes, kept = [], [], []
    left = settings.limit

    def footer(name: str) -> tuple[pa.Schema, list[int], list[np.ndarray | None]]:
        with system.open(name, "rb") as opened:
            try:
                file = pq.ParquetFile(opened)
            except (pa.ArrowException, OSError) as error:
                raise RequestError(
                    f"{name} is no whole Parquet file: {error}; write it anew, or leave it out"
                ) from error
            _check_columns(file.schema_arrow, (*columns, *settings.where), name)
            counts = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            return file.schema_arrow, counts, [_kept(file, index, settings) for index in range(len(counts))]

    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        for number, (_, counts, chosen) in enumerate(pool.map(footer, files)):
            for index, (count, rows) in enumerate(zip(counts, chosen, strict=True)):
                size = count if rows is None else len(rows)
                if left is not None and size > left:
                    rows = np.arange(left) if rows is None else rows[:left]
                    size = left
                if size:
                    places.append((number, index))
                    sizes.append(size)
                    kept.append(rows)
                left = None if left is None else left - size
    if not places:
        only = f" with {settings.where}" if settings.where else ""
        raise RequestError(f"no row{only} in {len(files)} files at {_said(settings)}")
    return Groups(settings, tuple(columns), tuple(files), tuple(places), tuple(sizes), tuple(kept))


def _said(settings: Rows) -> str:
    return settings.path if isinstance(settings.path, str) else ", ".join(settings.path)


def _system(settings: Rows) -> tuple[Any, list[str]]:
    """The file system of the paths, and the paths in it."""
    from fsspec.core import url_to_fs

    paths = (settings.path,) if isinstance(settings.path, str) else settings.path
    found = [url_to_fs(path) for path in paths]
    return found[0][0], [path for _, path in found]


def _files(system: Any, path: str) -> list[str]:
    """Parquet files at a path: a run directory's product before anything else that is there."""
    if any(sign in path for sign in "*?["):
        return system.glob(path)
    if system.isfile(path):
        return [path]
    return system.glob(f"{path}/dataset/part-*.parquet") or system.glob(f"{path}/*.parquet")


def _check_columns(schema: pa.Schema, columns: Sequence[str], name: str) -> None:
    missing = sorted(set(columns) - set(schema.names))
    if missing:
        has = ", ".join(schema.names)
        raise RequestError(f"{name} has no column {', '.join(map(repr, missing))}; it has {has}")


def _kept(file: pq.ParquetFile, index: int, settings: Rows) -> np.ndarray | None:
    """Rows of a group that the conditions take."""
    if not settings.where:
        return None
    table = file.read_row_group(index, columns=list(settings.where))
    right = np.ones(table.num_rows, bool)
    for name, values in settings.where.items():
        try:
            wanted = pa.array(values).cast(table[name].type)
        except pa.ArrowInvalid as error:
            raise RequestError(
                f"data.where: {name} is {table[name].type}, and {list(values)} is not: {error}"
            ) from None
        right &= pc.is_in(table[name], wanted).to_numpy()
    return np.flatnonzero(right)
