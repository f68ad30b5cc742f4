"""Duplicates first, then the most typical rows of what is left.

Source: D4, Tirumala et al. 2023, arXiv 2308.12284: SemDeDup to a keep ratio, clusters anew, because duplicates make
dense clusters of their own, then SSL prototypes (Sorscher et al. 2022, arXiv 2206.14486): the most typical rows go.
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
from potstill.pipelines.selectors.selector import Choice, Selector

LEAST = 0.5
"""Matches below this cosine are looked for in a row's own cluster only."""


class D4(Selector):
    """Writes ``<name>_cosine``, the largest cosine to a row of lower id; then, of the rows that stay as no duplicates,
    ``<name>_cluster`` and ``<name>_distance``, 1 - cosine to its centroid. Keeps ``budget`` rows.

    First the rows with the largest ``<name>_cosine`` go, for ``semantic_duplicate``, until ``dedup_keep`` of all, or
    the budget, are left: the rule of the paper, by which a dropped row still drops others. Then those nearest to their
    centroid, for ``prototypical``. Rows without a vector stay only where the others do not fill the budget.
    """

    kind: Literal["d4"] = "d4"
    embedding: str
    """Column of vectors; their length does not matter."""
    budget: Budget
    """Rows to keep: a whole number, or a share of the rows up to 1.0."""
    dedup_keep: float = Field(default=0.75, gt=0, le=1)
    """Share of the rows with a vector that is left after the duplicates: R_dedup of the paper."""
    clusters: int = Field(default=100, ge=1)
    """Clusters of the second step, at most."""
    cluster_rows: int = Field(default=1000, ge=2, le=20_000)
    """Rows per cluster of the first step, on average."""

    def reads(self) -> tuple[str, ...]:
        """Vectors."""
        return (self.embedding,)

    def writes(self) -> Mapping[str, pa.DataType]:
        """Closeness to an earlier row, cluster, distance to its centroid."""
        kinds = {"cosine": pa.float32(), "cluster": pa.int32(), "distance": pa.float32()}
        return {f"{self.name}_{name}": kind for name, kind in kinds.items()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Exactly the budget, or all rows when there are fewer."""
        budget = concepts.rows_of(self.budget, len(rows))
        every = np.arange(len(rows))
        with pool(rows, self.embedding) as found:
            match = semantic.matches(found, every, LEAST, self.cluster_rows, seed, f"{self.name}/dedup")
            at = np.flatnonzero(found.there)
            left = max(concepts.rows_of(self.dedup_keep, len(at)), min(budget, len(at)))
            single = found.there.copy()
            single[at[np.lexsort((at, np.nan_to_num(match.cosine[at], nan=-2)))[left:]]] = False
            clustered = found.clustered(single, self.clusters, seed, self.name)
        at = np.flatnonzero(single)
        keep = np.zeros(len(rows), bool)
        keep[at[np.argsort(clustered.near[at], kind="stable")[:budget]]] = True
        spare = np.flatnonzero(~found.there)
        keep[spare[: max(0, budget - len(at))]] = True
        reasons = np.where(single, "prototypical", semantic.DUPLICATE).astype(object)
        reasons[~found.there] = semantic.NO_VECTOR
        written = match.cosine, clustered.labels, 1 - clustered.near
        columns = semantic.measured(written[0]), semantic.numbered(written[1]), semantic.measured(written[2])
        return Choice(keep, reasons, dict(zip(self.writes(), columns, strict=True)))
