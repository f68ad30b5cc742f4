"""What every set-wise stage does: decide about all rows that reach it at once, seeing columns and never pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.stage import Stage

NOT_SELECTED = "not_selected"


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision about the n rows of a set, in the order of their ids."""

    keep: np.ndarray
    """Boolean (n,)."""
    reasons: np.ndarray | None = None
    """Why rows were dropped: object (n,) of words, read where ``keep`` is false. None: ``not_selected``."""
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    """What the stage promised to write: one value per row, null where it has nothing to say."""
    evidence: Mapping[str, pa.Array] = field(default_factory=dict)
    """Numbers that it was decided by, one per row: they stand in ``decisions/`` and ``potstill explain`` shows them."""


class Selector(Stage):
    """A decision about all rows that reach it at once; a segment ends here.

    What it chose is remembered in ``decisions/<name>.parquet`` and stands as long as the settings, the rows and what it
    reads of them are the same.
    """

    version: ClassVar[int] = 1
    """Raised when the same settings choose otherwise than before."""
    speed: ClassVar[Mapping[str, Any]] = {}
    """Settings that change how fast a choice comes, not the choice: pydantic's ``exclude``."""
    names_rows: ClassVar[bool] = False
    """Whether ``<name>_ids`` names other rows, of which stages behind may read any column, as ``<name>.<column>``."""

    def identity(self) -> Mapping[str, Any]:
        """What the choice depends on beside settings and rows: files, model revisions. No torch."""
        return {}

    @abstractmethod
    def select(self, rows: RowSet, seed: int) -> Choice:
        """The choice. ``seed`` is the run's; draws derive from (seed, name, sample id)."""
