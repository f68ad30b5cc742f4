"""The rows that reach a set-wise stage: columns in the order of their ids, and vectors block by block.

Sorted by id, so that no answer can depend on how rows arrived; in blocks, so that vectors need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from potstill.pipelines import schema
from potstill.pipelines.rundir import RunDir

ID = np.dtype("S32")
Over = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], Iterator[Any]]
"""Runs a function over calls, maybe at the same time and elsewhere; results in the order of the calls."""


class Block(Protocol):
    """Some of the rows. Small and picklable: it knows where its rows are and reads them where it is used."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """``sample_id`` and the columns; the same rows in the same order each time."""
        ...


class RowSet:
    """Rows in the order of their ids. Memory: 56 bytes a row, and what is asked for.

    ``over`` runs other work than :meth:`map` where the blocks are mapped: parts of what lies in :attr:`scratch`, say.
    """

    def __init__(self, blocks: Sequence[Block], over: Over | None = None, scratch: RunDir | None = None) -> None:
        self.blocks, self.over, self._scratch = tuple(blocks), over or in_turn, scratch
        parts = list(self.over(_ids, [(block,) for block in self.blocks]))
        joined = np.concatenate(parts) if parts else np.array([], ID)
        order = np.argsort(joined, kind="stable")
        self.ids: np.ndarray = joined[order]
        """Sample ids, ascending: (n,) of 32 hex digits as bytes."""
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        ends = np.cumsum([len(part) for part in parts])[:-1]
        self.places: list[np.ndarray] = np.split(place, ends) if parts else []
        """Per block, the positions of its rows in :attr:`ids`."""
        self._order = order

    @classmethod
    def of(cls, ids: Sequence[str], **columns: Any) -> RowSet:
        """Rows held in memory: ids and one sequence, or Arrow array, per column."""
        return cls([_Held(pa.table({schema.SAMPLE_ID: pa.array(ids, pa.string()), **columns}))])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_scratch(self) -> bool:
        """Whether there is a scratch folder: not for rows held in memory."""
        return self._scratch is not None

    @property
    def scratch(self) -> RunDir:
        """A folder that every worker sees, for what does not fit into memory; it goes when the stage has chosen."""
        if self._scratch is None:
            raise ValueError("these rows are held in memory and have no scratch folder")
        return self._scratch

    def map(self, fn: Callable[..., Any], columns: Sequence[str], *args: Any) -> Iterator[tuple[np.ndarray, Any]]:
        """``fn(table, *args)`` over the blocks, whose tables have ``sample_id`` and ``columns``.

        Yields, in the order of the blocks, the positions of the block's rows and the result. ``fn`` may run in another
        process: it must be a function of a module.
        """
        calls = [(block, tuple(columns), fn, args) for block in self.blocks]
        yield from zip(self.places, self.over(_applied, calls), strict=True)

    def column(self, name: str) -> pa.Array:
        """A column of all rows, in the order of the ids."""
        return self.columns([name])[name]

    def columns(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """Several columns of all rows, in the order of the ids; every block is read once."""
        tables = [table for _, table in self.map(_itself, names)]
        order = pa.array(self._order)
        return {name: _joined([table[name] for table in tables]).take(order) for name in names}

    def numbers(self, name: str) -> np.ndarray:
        """A column of numbers: float64 (n,), NaN for null."""
        return np.asarray(self.column(name).cast(pa.float64()).fill_null(float("nan")))

    def features(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of the rows that have one, float32 (m, d), and those rows' positions, ascending (m,)."""
        column = self.column(name)
        return vectors(column), np.flatnonzero(np.asarray(column.is_valid()))

    @cached_property
    def texts(self) -> list[str]:
        """Sample ids as strings."""
        return self.ids.astype("U32").tolist()


def vectors(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The vectors of a fixed-size list column that are not null: float32 (m, d)."""
    if isinstance(column, pa.ChunkedArray):
        column = _joined(column.chunks)
    if pa.types.is_null(column.type):
        return np.zeros((0, 0), np.float32)
    if not pa.types.is_fixed_size_list(column.type):
        raise ValueError(f"a column of vectors holds fixed-size lists of numbers, this one {column.type}")
    return np.asarray(column.flatten()).reshape(-1, column.type.list_size).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows (n, d) of length 1; a zero row stays."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def in_turn(fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """One call after the other, in this process."""
    for call in calls:
        yield fn(*call)


def in_order(over: Over, fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """What ``over`` yields in the order in which calls end, in the order of the calls."""
    waiting: dict[int, Any] = {}
    following = 0
    for number, result in over(_numbered, [(number, fn, call) for number, call in enumerate(calls)]):
        waiting[number] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _numbered(number: int, fn: Callable[..., Any], call: tuple[Any, ...]) -> tuple[int, Any]:
    return number, fn(*call)


class _Held:
    """A block whose table is in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def read(self, columns: Sequence[str]) -> pa.Table:
        return self._table.select([schema.SAMPLE_ID, *columns])


def _ids(block: Block) -> np.ndarray:
    return np.array(block.read(())[schema.SAMPLE_ID].to_pylist(), ID)


def _applied(block: Block, columns: Sequence[str], fn: Callable[..., Any], args: Sequence[Any]) -> Any:
    return fn(block.read(columns), *args)


def _itself(table: pa.Table) -> pa.Table:
    return table


def _joined(parts: Sequence[pa.Array | pa.ChunkedArray]) -> pa.Array:
    """Arrays end to end; one that is null everywhere takes the type of the others."""
    flat = [chunk for part in parts for chunk in (part.chunks if isinstance(part, pa.ChunkedArray) else [part])]
    kind = next((part.type for part in flat if not pa.types.is_null(part.type)), pa.null())
    typed = [pa.nulls(len(part), kind) if pa.types.is_null(part.type) else part for part in flat]
    return pa.concat_arrays(typed) if typed else pa.nulls(0)
