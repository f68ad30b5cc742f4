"""Herding: the mean of the kept rows stays near the mean of all."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from potstill.pipelines.coresets import greedy
from potstill.pipelines.coresets.rounds import Pick
from potstill.pipelines.selectors.coreset import Coreset


class Herding(Coreset):
    """Keeps rows one by one so that the mean of their unit vectors follows the mean of all, or of each group.

    Welling 2009; per class as in iCaRL, Rebuffi et al. 2017, arXiv 1611.07725. Nothing is promised when no row is taken
    twice; the gap is logged beside that of a random subset. O(n budget d) time, n x d x 4 bytes.
    """

    kind: Literal["herding"] = "herding"
    pick: ClassVar[Pick] = staticmethod(greedy.herding)
    measured: ClassVar[str] = "distance of the mean from that of all rows"

    def objective(self, nearest: np.ndarray, gap: float) -> float:
        """The gap: Euclidean distance between two means of unit vectors, 0 to 2."""
        return gap
