"""Micro-batches for one worker, from its first row on or from anywhere later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from potstill.models.trainers.order import Order
from potstill.models.trainers.parquet import Groups
from potstill.models.trainers.recipe import Recipe

WINDOW = "_window"
"""Column that names the window of a row: a worker refuses one that is not its next."""


def read_window(recipe: Recipe, groups: Groups, order: Order, index: int) -> pa.Table:
    """A window of training rows, prepared, with the window's number."""
    rows = recipe.prepare(groups.read(order.window_rows(index)), training=True)
    return rows.append_column(WINDOW, pa.array(np.full(rows.num_rows, index, np.int64)))


def local_windows(read: Callable[[int], pa.Table], first: int, count: int) -> Iterator[pa.Table]:
    """Windows in this process; the next one is read while the last one is used."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(read, first)
        for index in range(first + 1, first + count + 1):
            ready = following.result()
            if index < first + count:
                following = pool.submit(read, index)
            yield ready


def micro_batches(
    windows: Iterable[pa.Table], size: int, skip: int, first: int, stride: int, window: int
) -> Iterator[pa.Table]:
    """Slices of ``size`` rows from the windows of one worker, after ``skip`` rows of the first window.

    The windows must be ``first``, ``first + stride``, ...; another one, or one of another length, raises RuntimeError.
    """
    left: pa.Table | None = None
    expected = first
    for table in windows:
        numbers = table[WINDOW].to_numpy()
        if len(numbers) != window or not (numbers == expected).all():
            raise RuntimeError(f"window {numbers[:1]} with {len(numbers)} rows came where {expected} was due")
        expected += stride
        table = table.drop_columns([WINDOW]).slice(skip)
        skip = 0
        left = table if left is None else pa.concat_tables([left, table])
        start = 0
        while left.num_rows - start >= size:
            yield left.slice(start, size)
            start += size
        left = left.slice(start)


def span(window: int, done: int, total: int, world: int) -> tuple[int, int, int]:
    """First window, number of windows and rows to skip, when each of ``world`` workers has seen ``done`` rows and is to
    see ``total``.
    """
    first, skip = divmod(done, window)
    return first * world, (-(-total // window) - first) * world, skip
