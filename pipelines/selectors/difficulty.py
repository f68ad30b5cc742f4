"""How hard each row was for a model while it was trained: EL2N, forgetting and area under the margin, from its log."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines.coresets.dynamics import Dynamics
from potstill.pipelines.coresets.files import digest
from potstill.pipelines.coresets.training_log import replay
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.selector import Choice, Selector

logger = logging.getLogger(__name__)


class Difficulty(Selector):
    """Writes ``<name>_el2n``, ``<name>_forgetting``, ``<name>_aum`` and keeps every row.

    - el2n: mean over the first epochs of the length of (probabilities - one-hot label), 0 to 1.41, high is hard;
      Paul et al. 2021, arXiv 2107.07075
    - forgetting: how often a row went from right to wrong, high is hard; the number of epochs for one never right;
      Toneva et al. 2019, arXiv 1812.05159
    - aum: mean over all epochs of the label's logit (or probability) less the largest other, low is hard and likely a
      wrong label; Pleiss et al. 2020, arXiv 2001.10528

    Null for rows that the log does not have; a log of ``correct`` alone gives forgetting alone. The log is read once,
    in batches; 38 bytes a row. Its format is in docs/selection.md.
    """

    kind: Literal["difficulty"] = "difficulty"
    log: str
    """Training log: a Parquet file, or a folder of them in the order of their names."""
    early: int = Field(default=10, ge=1)
    """Epochs, from 0, over which el2n is averaged."""

    def reads(self) -> tuple[str, ...]:
        """None: the log knows rows by their ids."""
        return ()

    def writes(self) -> Mapping[str, pa.DataType]:
        """The three numbers."""
        return {
            f"{self.name}_el2n": pa.float32(),
            f"{self.name}_forgetting": pa.int32(),
            f"{self.name}_aum": pa.float32(),
        }

    def identity(self) -> Mapping[str, Any]:
        """The content of the log."""
        return {"log": digest(self.log)}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Every row, with what the log says about it."""
        dynamics = Dynamics(rows.texts)
        unknown = replay(self.log, rows.ids, dynamics, self.early)
        found, margins, early = dynamics.epochs > 0, dynamics.margins > 0, dynamics.early > 0
        if len(rows) and not found.any():
            raise ValueError(
                f"{self.log}: none of its samples is among the {len(rows)} rows; is it another data set's?"
            )
        logger.info(
            "stage %s: %d of %d rows are in the log, %d entries are of others",
            self.name,
            found.sum(),
            len(rows),
            unknown,
        )
        values = {
            "el2n": pa.array(dynamics.error / np.maximum(dynamics.early, 1), pa.float32(), mask=~early),
            "forgetting": pa.array(dynamics.forgetting(), pa.int32(), mask=~found),
            "aum": pa.array(dynamics.margin / np.maximum(dynamics.margins, 1), pa.float32(), mask=~margins),
        }
        return Choice(np.ones(len(rows), bool), columns={f"{self.name}_{key}": array for key, array in values.items()})
