"""Rows of the clusters that a target set falls into: DataComp's image-based filter (Gadre et al., arXiv 2304.14108)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from potstill.pipelines import evaluation
from potstill.pipelines.filters import expression
from potstill.pipelines.neighbours.kmeans import Centroids
from potstill.pipelines.neighbours.pool import pool
from potstill.pipelines.neighbours.semantic import NO_VECTOR, numbered
from potstill.pipelines.neighbours.targets import nearest
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector

OFF_TARGET = "off_target"


class TargetClusters(Selector):
    """Writes ``<name>_cluster`` and ``<name>_targets``, the targets nearest to it; keeps rows of clusters with any.

    Rows are dropped for ``off_target`` or ``no_vector``. The vectors of the targets must fit into memory.
    """

    kind: Literal["target_clusters"] = "target_clusters"
    embedding: str
    """Column of vectors; their length does not matter."""
    against: str | None = None
    """The target set: a Parquet file, a folder of them, or a run folder, with a column of the same name."""
    where: str | None = None
    """Or a condition: the rows for which it holds are the targets."""
    clusters: int = Field(default=100_000, ge=1)
    """Clusters, at most; 256 rows of each are looked at to find them."""
    drop: bool = True
    """False: only write the columns and keep every row, for a later condition to decide."""

    @model_validator(mode="after")
    def _has_targets(self) -> TargetClusters:
        if (self.against is None) == (self.where is None):
            raise ValueError("give the target set as `against` (files) or as `where` (a condition), one of them")
        self.reads()
        return self

    def reads(self) -> tuple[str, ...]:
        """Vectors, and what tells the targets."""
        return (self.embedding, *(expression.names(expression.parse(self.where)) if self.where is not None else ()))

    def writes(self) -> Mapping[str, pa.DataType]:
        """Cluster and its targets."""
        return {f"{self.name}_cluster": pa.int32(), f"{self.name}_targets": pa.int32()}

    def identity(self) -> Mapping[str, Any]:
        """The content of the target files."""
        return {"against": evaluation.digest(self.against)} if self.against else {}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """The rows of clusters that a target is nearest to."""
        labels, counts = np.full(len(rows), -1, np.int32), np.zeros(1, int)
        with pool(rows, self.embedding) as found:
            if found.there.any():
                centroids = found.fit(found.there, self.clusters, seed, f"{self.name}/fit")
                labels = found.assign(np.where(found.there, 0, -1), centroids, self.name).labels
                counts = np.bincount(self._targets(rows, centroids, labels), minlength=len(centroids))
        targets = np.where(labels < 0, -1, counts[labels])
        reasons = np.where(labels < 0, NO_VECTOR, OFF_TARGET).astype(object)
        written = dict(zip(self.writes(), (numbered(labels), numbered(targets)), strict=True))
        return Choice((targets > 0) | (not self.drop), reasons, written)

    def _targets(self, rows: RowSet, centroids: Centroids, labels: np.ndarray) -> np.ndarray:
        """The cluster of each target."""
        if self.against:
            return nearest(self.against, self.embedding, centroids)
        holds = expression.evaluate(expression.parse(self.where or ""), rows.columns(self.reads()[1:]), len(rows))
        return labels[np.asarray(holds.fill_null(False)) & (labels >= 0)]
