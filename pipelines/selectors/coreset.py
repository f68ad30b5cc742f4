"""What k-centre, herding and facility location share: a few rows that stand for all, picked by their vectors."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines.coresets import groups
from potstill.pipelines.coresets.rounds import Pick, picked, picked_by_group, standing
from potstill.pipelines.coresets.vectors import Shards
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.random_subset import lots
from potstill.pipelines.selectors.selector import NOT_SELECTED, Choice, Selector

logger = logging.getLogger(__name__)


class Coreset(Selector):
    """Writes ``<name>_rank``, order of picking from 0, of each group with ``by``; and ``<name>_nearest``, the cosine of
    a row with the nearest kept one. Logs what it achieved beside a random subset of equal size.
    """

    budget: int = Field(gt=0)
    """Rows to keep."""
    embedding: str
    """Column of vectors; their length does not matter. Rows without one are dropped for ``no_vector``."""
    by: str | None = None
    """Column of labels: its groups share the budget equally, as far as they have rows (null: ``no_group``)."""
    shards: int = Field(default=1, ge=1, le=512)
    """Parts that are in memory in turn. Without ``by`` each picks ``budget`` rows, then the best of those are kept."""
    shard_by: str | None = None
    """Without ``by``: column of labels whose rows stay in one shard, a cluster say. Better than shards at random."""
    sample: int = Field(default=10_000, ge=1)
    """Rows, drawn at random, by which facility location judges the picks of several shards."""
    max_bytes: int = Field(default=4 * 2**30, ge=1)
    """Most bytes of vectors in memory: rows x dimensions x 4 of one shard."""
    speed: ClassVar[Mapping[str, Any]] = {"max_bytes": True}
    pick: ClassVar[Pick]
    measured: ClassVar[str]

    def reads(self) -> tuple[str, ...]:
        """Vectors, and labels where they are used."""
        return tuple(dict.fromkeys(name for name in (self.embedding, self.by or self.shard_by) if name))

    def writes(self) -> Mapping[str, pa.DataType]:
        """Order of picking, nearness to what was picked."""
        return {f"{self.name}_rank": pa.int32(), f"{self.name}_nearest": pa.float32()}

    @abstractmethod
    def objective(self, nearest: np.ndarray, gap: float) -> float:
        """``measured``, of ``nearest`` (m,) and the distance between the picks' mean and the mean of all."""

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Pick, then compare with a random subset of the same size, and of the same groups."""
        with Shards(rows, self.embedding, self.shards, self.by or self.shard_by, self.max_bytes) as shards:
            usable = shards.usable()
            codes = groups.codes(rows.column(self.by))[1] if self.by else np.zeros(len(rows), np.int64)
            reasons = np.where(usable, np.where(codes < 0, "no_group", NOT_SELECTED), "no_vector").astype(object)
            codes[~usable] = groups.NONE
            quotas = groups.water_fill(groups.sizes(codes), self.budget)
            if self.by:
                order = picked_by_group(shards, codes, quotas, self.pick)
            else:
                sample = groups.first(codes, np.array([self.sample]), lots(rows, seed, f"{self.name}/sample"))
                order = picked(shards, self.budget, self.pick, sample)
            keep, rank = np.zeros(len(rows), bool), np.zeros(len(rows), np.int32)
            keep[order], rank[order] = True, np.arange(len(order)) - np.searchsorted(codes[order], codes[order])
            near, gap = standing(shards, keep)
            if len(order):
                random = standing(shards, groups.first(codes, quotas, lots(rows, seed, f"{self.name}/random")))
                achieved = self.objective(near[usable], gap), self.objective(random[0][usable], random[1])
                logger.info("stage %s: %s %.4g, of a random subset %.4g", self.name, self.measured, *achieved)
            written = {"rank": pa.array(rank, mask=~keep), "nearest": pa.array(near, from_pandas=True)}
            return Choice(keep, reasons, {f"{self.name}_{column}": values for column, values in written.items()})
