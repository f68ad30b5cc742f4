"""Rows of curated Parquet for evaluations: columns, keys of ``meta``, and pictures with their limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from fsspec.core import url_to_fs

from potstill.config import RequestError
from potstill.models.trainers.order import FIELDS
from potstill.models.trainers.parquet import Groups, groups
from potstill.models.trainers.settings import Rows
from potstill.pipelines import schema
from potstill.pipelines.intake import Intake, examine
from potstill.pipelines.sources.base import MissingImage

META = f"{schema.META}_"
LIMITS = Intake(decode="header", min_side=1)
"""Bounds of a picture, since Parquet from elsewhere has been through no intake."""


NAMED = (schema.SAMPLE_ID, schema.IMAGE_ID, schema.SOURCE)
"""Columns that say which row it is."""


class Reader:
    """The rows that settings name, in the order of the files, with the columns asked for and what there is of
    :data:`NAMED`. ``meta_KEY`` is the value of a key in the JSON of ``meta``.

    Raises :class:`RequestError` for no row, and for a column that is not there.
    """

    def __init__(self, settings: Rows, columns: Sequence[str]) -> None:
        there = _names(settings)
        self._named = [name for name in NAMED if name in there]
        self._stored = {name: _place(name, there) for name in (*columns, *self._named)}
        missing = [name for name, place in self._stored.items() if place not in there]
        if missing:
            keys = ", and keys of the JSON in meta as meta_KEY" if schema.META in there else ""
            raise RequestError(
                f"the rows at {settings.path} have no column {', '.join(map(repr, missing))}; columns there: "
                f"{', '.join(there)}{keys}"
            )
        self._groups: Groups = groups(settings, tuple(dict.fromkeys(self._stored.values())))
        self.count = sum(self._groups.sizes)
        self.files = len(self._groups.files)
        self.names: list[pa.Table] = []
        """Which rows they are, part by part, once they have been read."""

    def __contains__(self, column: str) -> bool:
        """Whether the rows have a column that was asked for, or one of :data:`NAMED`."""
        return column in self._stored

    def tables(self, columns: Sequence[str], most: int = 1024) -> Iterator[pa.Table]:
        """Some columns of all rows, and :data:`NAMED`, at most so many rows at a time; from each row group once."""
        self.names = []
        wanted = list(dict.fromkeys((*columns, *self._named)))
        source = replace(self._groups, columns=tuple(dict.fromkeys(self._stored[name] for name in wanted)))
        for number, size in enumerate(self._groups.sizes):
            rows = np.zeros(size, FIELDS)
            rows["epoch"], rows["group"], rows["row"] = 1, number, np.arange(size)
            table = self._with_keys(source.read(rows), wanted).select(wanted)
            self.names.append(table.select(self._named))
            for start in range(0, size, most):
                yield table.slice(start, most)

    def values(self, column: str) -> list[Any]:
        """One column of all rows."""
        return [value for table in self.tables((column,)) for value in table[column].to_pylist()]

    def pictures(self) -> list[Any]:
        """What rows of one picture have in common, of the rows that were read last: the image's id, where there is
        one."""
        if schema.IMAGE_ID not in self:
            return list(range(self.count))
        return [value for table in self.names for value in table[schema.IMAGE_ID].to_pylist()]

    def _with_keys(self, table: pa.Table, wanted: Sequence[str]) -> pa.Table:
        keys = [name for name in wanted if self._stored[name] != name]
        metas = [json.loads(text) if text else {} for text in table[schema.META].to_pylist()] if keys else []
        for name in keys:
            values = [meta.get(name.removeprefix(META)) for meta in metas]
            texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
            table = table.append_column(name, pa.array(texts, pa.string()))
        return table


def _place(name: str, there: Sequence[str]) -> str:
    """The column of the file that holds a column."""
    return schema.META if name.startswith(META) and name not in there and schema.META in there else name


def _names(settings: Rows) -> list[str]:
    """Columns of the first file."""
    file = groups(settings, ()).files[0]
    system, _ = url_to_fs(settings.path if isinstance(settings.path, str) else settings.path[0])
    with system.open(file, "rb") as opened:
        return pq.read_schema(opened).names


def encoded(value: Any) -> bytes:
    """The file in an image cell: bytes, or the struct of Hugging Face. Raises :class:`MissingImage`, and what
    :func:`examine` raises for a picture that is none, or too large."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise MissingImage("the image cell holds no bytes; write the pictures into the file, or leave the row out")
    examine(data, LIMITS)
    return data


def key_of(data: bytes) -> str:
    """What rows with the same picture have in common."""
    return xxhash.xxh3_128_hexdigest(data)


def texts(value: Any) -> list[str]:
    """The texts in a cell: one, a list of some, or none; blank ones left out."""
    values = value if isinstance(value, list) else [value]
    return [str(each).strip() for each in values if each is not None and str(each).strip()]
