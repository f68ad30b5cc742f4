"""Of rows whose vectors point nearly the same way, one stays.

Source: SemDeDup, Abbas et al. 2023, arXiv 2303.09540: cosines within k-means clusters, drop above 1 - epsilon. But
here a row is dropped only for a kept row within the threshold of it (no chains), rows near the border of two clusters
are compared in both, and the order of rows does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines import preference
from potstill.pipelines.neighbours import semantic
from potstill.pipelines.neighbours.pool import pool
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector


class SemanticDuplicates(Selector):
    """Writes ``<name>_duplicate_of``, the id of the kept row that stands for a dropped one (null for kept rows);
    ``<name>_cosine``, the largest cosine to a row that goes before it, -1 to 1; and ``<name>_cluster``.

    Rows go in the order of ``prefer``, then of ids; each is dropped, for ``semantic_duplicate``, if a kept row is
    within ``min_cosine`` of it in its cluster. Rows without a vector (null, zero, not finite) are kept, their columns
    null.

    ``<name>_cosine`` shows what other thresholds would do: at most the rows at or above one would be dropped. Below
    ``min_cosine`` it is a lower bound: only the row's own cluster is sure to have been looked at.

    Time grows as n * cluster_rows for the cosines and n * sqrt(n / cluster_rows) for the clusters; the driver holds
    about 200 bytes a row, a worker one block or partition, the scratch folder up to twice the vectors.
    """

    kind: Literal["semantic_duplicates"] = "semantic_duplicates"
    embedding: str
    """Column of vectors; their length does not matter."""
    min_cosine: float = Field(default=0.95, gt=0, le=1)
    """Rows are duplicates from this cosine on: 1 - epsilon. A matter of the model: look at ``<name>_cosine`` first."""
    prefer: preference.Preference | None = None
    """Of duplicates the row with the largest stays: a column, or ``width * height``. Nulls come last."""
    cluster_rows: int = Field(default=1000, ge=2, le=20_000)
    """Rows per cluster on average: more finds more of the pairs across borders and takes as much longer."""
    drop: bool = True
    """Whether duplicates go; false only writes the columns."""

    def reads(self) -> tuple[str, ...]:
        """Vectors, and the preference."""
        return tuple(dict.fromkeys((self.embedding, *preference.reads(self.prefer))))

    def writes(self) -> Mapping[str, pa.DataType]:
        """Who stands for the row, how close it is to any before it, its cluster."""
        return {
            f"{self.name}_duplicate_of": pa.string(),
            f"{self.name}_cosine": pa.float32(),
            f"{self.name}_cluster": pa.int32(),
        }

    def select(self, rows: RowSet, seed: int) -> Choice:
        """One row of each star of duplicates, and all that have none."""
        order = preference.order(rows, self.prefer)
        with pool(rows, self.embedding) as found:
            match = semantic.matches(found, order, self.min_cosine, self.cluster_rows, seed, self.name)
        written = (
            semantic.names(rows, match.behind),
            semantic.measured(match.cosine),
            semantic.numbered(match.clusters),
        )
        reasons = np.full(len(rows), semantic.DUPLICATE, object)
        keep = (match.behind < 0) | (not self.drop)
        return Choice(keep, reasons, dict(zip(self.writes(), written, strict=True)))
