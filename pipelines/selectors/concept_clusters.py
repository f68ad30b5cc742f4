"""A budget shared out over clusters by how much there is to learn in each.

Source: Abbas et al. 2024, arXiv 2401.04578 (density-based pruning): complexity d_inter * d_intra, softmax with a
temperature, least-squares quotas, the rows farthest from the centroid. Their code (amro-kamal/effective_pruning) solves
the quotas as a quadratic program; here the closed form, and the sum is the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines.neighbours import concepts, semantic
from potstill.pipelines.neighbours.concepts import Budget
from potstill.pipelines.neighbours.pool import pool
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import NOT_SELECTED, Choice, Selector


class ConceptClusters(Selector):
    """Writes ``<name>_cluster`` and ``<name>_distance``, 1 - cosine to its centroid, and keeps ``budget`` rows.

    Let duplicates and bad pairs be dropped before: the farthest rows of a cluster are the hard ones and the wrong ones.
    The paper gains at 10^8 rows; where rows are few, ``nearest`` is the better end (docs/selection.md). Rows without a
    vector are kept only where the others do not fill the budget; else they are dropped for ``no_vector``.
    """

    kind: Literal["concept_clusters"] = "concept_clusters"
    embedding: str
    """Column of vectors; their length does not matter. The paper takes DINOv2 of the image."""
    budget: Budget
    """Rows to keep: a whole number, or a share of the rows up to 1.0."""
    clusters: int = Field(default=100, ge=1)
    """Clusters, at most: 100 in the paper for 10^8 rows, 500 for 4 * 10^8."""
    temperature: float = Field(default=0.1, gt=0)
    """Of the softmax over complexities: large gives each cluster the same, small the complex ones nearly all."""
    keep: Literal["farthest", "nearest"] = "farthest"
    """Which rows of a cluster stay: those farthest from its centroid or nearest to it."""

    def reads(self) -> tuple[str, ...]:
        """Vectors."""
        return (self.embedding,)

    def writes(self) -> Mapping[str, pa.DataType]:
        """Cluster and distance to its centroid."""
        return {f"{self.name}_cluster": pa.int32(), f"{self.name}_distance": pa.float32()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Exactly the budget, or all rows when there are fewer."""
        keep = np.zeros(len(rows), bool)
        with pool(rows, self.embedding) as found:
            at = np.flatnonzero(found.there)
            spare = np.flatnonzero(~found.there)
            clustered = found.clustered(found.there, self.clusters, seed, self.name)
        budget = concepts.rows_of(self.budget, len(rows))
        if len(at):
            labels, near = clustered.labels[at], clustered.near[at]
            sizes = np.bincount(labels, minlength=len(clustered.leaves))
            hard = concepts.complexity(clustered.leaves, labels, near)
            quota = concepts.cluster_quotas(hard, sizes, min(budget, len(at)), self.temperature)
            order = np.argsort(near if self.keep == "farthest" else -near, kind="stable")
            keep[at] = concepts.within(labels, order, quota)
        keep[spare[: max(0, budget - len(at))]] = True
        reasons = np.where(found.there, NOT_SELECTED, semantic.NO_VECTOR).astype(object)
        written = semantic.numbered(clustered.labels), semantic.measured(1 - clustered.near)
        return Choice(keep, reasons, dict(zip(self.writes(), written, strict=True)))
