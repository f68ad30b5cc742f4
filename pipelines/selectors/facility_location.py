"""Facility location: every row has a similar row among the kept ones."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from potstill.pipelines.coresets import greedy
from potstill.pipelines.coresets.rounds import Pick
from potstill.pipelines.selectors.coreset import Coreset


class FacilityLocation(Coreset):
    """Keeps rows that make the mean of (1 + cosine with the nearest kept row) / 2 largest, one by one.

    At least 1 - 1/e of the best possible mean for a single shard (Nemhauser, Wolsey and Fisher 1978; as a coreset: Wei,
    Iyer and Bilmes 2015); two rounds with ``shards`` (GreeDi, Mirzasoleiman et al. 2013, arXiv 1411.0541). At most
    O(n^2 d) time for the first pick and little for each further one; n x d x 4 bytes, no matrix of similarities.
    """

    kind: Literal["facility_location"] = "facility_location"
    pick: ClassVar[Pick] = staticmethod(greedy.facility_location)
    measured: ClassVar[str] = "mean similarity to the nearest kept row"

    def objective(self, nearest: np.ndarray, gap: float) -> float:
        """The mean similarity, 0 to 1. A random subset is not far below: look at the difference, not the ratio."""
        return float((1 + nearest.astype(np.float64)).mean() / 2)
