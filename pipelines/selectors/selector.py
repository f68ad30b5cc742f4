"""What every selector does: choose ids from a set, seeing columns and never pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from potstill.pipelines.stage import Stage


class Selector(Stage):
    """A decision about all rows that reach it at once; a segment ends here."""

    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Columns that :meth:`select` needs."""

    @abstractmethod
    def select(self, ids: Sequence[str], columns: pa.Table, seed: int) -> np.ndarray:
        """Boolean array, true for the ids to keep. The answer must not depend on the order of the rows."""
