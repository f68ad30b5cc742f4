"""NormSim: how much of a target set looks like the row, by embeddings alone.

Source: Wang et al. 2024, arXiv 2405.19547: ||f G^T||_p over the unit rows G of a target; p = 2 (root of f G^T G f^T,
here divided by the number of targets) or infinity (the largest absolute cosine).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from potstill.pipelines import evaluation
from potstill.pipelines.rowset import unit, vectors
from potstill.pipelines.stage import BatchFn, RowStage


class NormSim(RowStage):
    """Writes ``<name>`` (float32, 0 to 1; null without an embedding).

    O(n d^2) for p = 2, whatever the number of targets; O(n m d) for infinity, with m targets in memory.
    """

    kind: Literal["norm_sim"] = "norm_sim"
    batch_rows: ClassVar[int] = 4096
    in_process: ClassVar[bool] = True

    features: str = "clip_score_image"
    """Column of embeddings, in the rows and in the target set."""
    against: str
    """The target set: a Parquet file, a folder of them, or a run folder."""
    norm: Literal["2", "inf"] = "inf"
    """p. Published: infinity against ImageNet or the training sets of the tasks."""

    def reads(self) -> tuple[str, ...]:
        """The embeddings."""
        return (self.features,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """The score."""
        return {self.name: pa.float32()}

    def identity(self) -> Mapping[str, Any]:
        """The content of the target set."""
        return {"against": evaluation.digest(self.against)}

    def build(self) -> BatchFn:
        """Read the targets. Raises ``ValueError`` when they are not there, or of another width than the rows."""
        column = evaluation.load(self.against, [self.features], self.features)[self.features]
        targets = unit(vectors(column))
        if not len(targets):
            raise ValueError(f"against: {self.against} has no vector in {self.features!r}; embed that set first")
        moment = targets.T.astype(np.float64) @ targets / len(targets)

        def score(rows: pa.Table) -> Mapping[str, Any]:
            column = rows[self.features]
            known = np.asarray(column.is_valid())
            values, features = np.zeros(len(column), np.float32), unit(vectors(column))
            if len(features) and features.shape[1] != targets.shape[1]:
                raise ValueError(
                    f"stage {self.name!r}: the target set has vectors of width {targets.shape[1]}, the rows "
                    f"{features.shape[1]}; embed both with the same model"
                )
            if len(features):
                values[known] = norm_2(features, moment) if self.norm == "2" else norm_inf(features, targets)
            return {self.name: pa.array(values, mask=~known)}

        return score


def norm_2(features: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Root mean square cosine of unit rows (n, d) with the targets of second moment (d, d): (n,)."""
    return np.sqrt(np.clip(np.einsum("nd,de,ne->n", features, moment, features, optimize=True), 0, None))


def norm_inf(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Largest absolute cosine of unit rows (n, d) with unit targets (m, d): (n,)."""
    return np.abs(features @ targets.T).max(1)
