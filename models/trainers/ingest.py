"""Windows of rows for the workers of Ray Train: read and prepared by Ray Data, split in a fixed order."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext
from ray.train import DataConfig

from potstill.models.trainers.feed import read_window, span
from potstill.models.trainers.folder import Folder
from potstill.models.trainers.order import Order
from potstill.models.trainers.parquet import Groups, groups
from potstill.models.trainers.recipe import Recipe


class Ingest(DataConfig):
    """Splits a stream whose windows are all equally long: worker r of W gets windows r, r + W, ..., always.

    Ray's split gives each block to the worker with the fewest rows so far; with equal blocks in a kept order that is
    one after the other. `feed.py` checks it.
    """

    def configure(self, datasets: Any, world_size: int, *_: Any, **__: Any) -> list[dict[str, Any]]:
        """An iterator for each worker."""
        return [{"train": part} for part in datasets["train"].streaming_split(world_size, equal=False)]


def windows(recipe: Recipe, folder: Folder) -> ray.data.Dataset:
    """All windows from the last checkpoint to the end, a block each. Called anew when workers are started anew."""
    found = groups(recipe.data, recipe.columns())
    order = found.order(recipe.data, recipe.seed)
    total = recipe.total_steps(order.rows)
    each = recipe.batch_size // recipe.compute.workers
    done = folder.last(total)
    first, count, _ = span(order.window, done * each, total * each, recipe.compute.workers)
    context = DataContext.get_current().copy()
    context.target_max_block_size = None
    context.execution_options.preserve_order = True
    context.execution_options.verbose_progress = context.enable_progress_bars = False
    blocks = max(count, 1)
    with DataContext.current(context):
        numbers = ray.data.range(blocks, override_num_blocks=blocks)
        told = {"recipe": recipe, "found": found, "order": order, "first": first}
        return numbers.map_batches(_read, batch_size=None, batch_format="pyarrow", fn_kwargs=told)


def _read(number: pa.Table, recipe: Recipe, found: Groups, order: Order, first: int) -> pa.Table:
    """The window behind a number."""
    assert number.num_rows == 1, "Ray cut the windows otherwise than asked"
    return read_window(recipe, found, order, first + number["id"][0].as_py())
