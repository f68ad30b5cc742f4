"""Cells of the rows through a model: each distinct one once, in whole batches, prepared while the model computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from potstill.pipelines.evals.reading import Reader, key_of

THREADS = min(16, os.cpu_count() or 1)
AHEAD = 2
"""Batches that are prepared before they are needed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model made of the distinct cells of some rows."""

    outputs: np.ndarray
    """A row for each distinct cell."""
    places: list[int | None]
    """For each row the number of its cell in ``outputs``; None where it failed."""
    errors: list[Exception | None]
    """For each row what went wrong with its cell."""


class Batches:
    """A model as functions of cells: ``read`` makes bytes of a cell, in this thread; ``prepare`` an input of bytes, in
    others; ``compute`` an array (n, width) of n inputs. A cell for which one of the first two raises has failed.
    """

    def __init__(
        self,
        read: Callable[[Any], bytes],
        prepare: Callable[[bytes], Any],
        compute: Callable[[Sequence[Any]], np.ndarray],
        size: int,
    ) -> None:
        self._read, self._prepare, self._compute, self._size = read, prepare, compute, size
        self._pool = ThreadPoolExecutor(THREADS)
        self._rows: list[str | Exception] = []
        self._waiting: deque[tuple[str, Future[Any]]] = deque()
        self._ready: list[tuple[str, Any]] = []
        self._known: set[str] = set()
        self._places: dict[str, int] = {}
        self._failed: dict[str, Exception] = {}
        self._outputs: list[np.ndarray] = []

    def run(self, rows: Reader, column: str) -> Seen:
        """All cells of a column. To be called once."""
        with self._pool:
            for table in rows.tables((column,)):
                for cell in table[column].to_pylist():
                    self._add(cell)
            while self._waiting:
                self._take()
        if self._ready:
            self._batch()
        errors = [row if isinstance(row, Exception) else self._failed.get(row) for row in self._rows]
        places = [self._places.get(row) if isinstance(row, str) else None for row in self._rows]
        return Seen(np.concatenate(self._outputs) if self._outputs else np.zeros((0, 0)), places, errors)

    def _add(self, cell: Any) -> None:
        try:
            data = self._read(cell)
        except Exception as error:  # noqa: BLE001 (whatever one cell does, the others go on)
            self._rows.append(error)
            return
        key = key_of(data)
        self._rows.append(key)
        if key not in self._known:
            self._known.add(key)
            self._waiting.append((key, self._pool.submit(self._prepare, data)))
        while len(self._waiting) > AHEAD * self._size:
            self._take()

    def _take(self) -> None:
        """The input that waits longest; when there are enough, a batch goes through the model."""
        key, prepared = self._waiting.popleft()
        try:
            self._ready.append((key, prepared.result()))
        except Exception as error:  # noqa: BLE001 (as above)
            self._failed[key] = error
        if len(self._ready) == self._size:
            self._batch()

    def _batch(self) -> None:
        self._outputs.append(self._compute([ready for _, ready in self._ready]))
        for key, _ in self._ready:
            self._places[key] = len(self._places)
        self._ready.clear()
