"""k-centre: no row is far from a kept one."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from potstill.pipelines.coresets import greedy
from potstill.pipelines.coresets.rounds import Pick
from potstill.pipelines.selectors.coreset import Coreset


class KCentre(Coreset):
    """Keeps the row nearest to the mean, then the one farthest from all kept, until ``budget`` are kept.

    The largest distance of a row to a kept one is at most twice the least possible, 4 times with ``shards`` (Gonzalez
    1985; Sener and Savarese 2018, arXiv 1708.00489; Malkomes et al. 2015). O(n budget d) time, n x d x 4 bytes. It
    picks outliers: let a filter go before.
    """

    kind: Literal["k_centre"] = "k_centre"
    pick: ClassVar[Pick] = staticmethod(greedy.k_centre)
    measured: ClassVar[str] = "largest distance to a kept row"

    def objective(self, nearest: np.ndarray, gap: float) -> float:
        """The radius: Euclidean distance of unit vectors, 0 to 2."""
        return float(np.sqrt(max(0.0, 2 - 2 * nearest.min())))
