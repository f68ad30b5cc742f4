"""Rows that optimal transport sends to a target: what to train on for a task whose pictures you have a few of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveFloat

from potstill.pipelines.coresets import groups
from potstill.pipelines.coresets.files import digest
from potstill.pipelines.coresets.targets import costs, means
from potstill.pipelines.coresets.transport import even_transport
from potstill.pipelines.coresets.vectors import Shards
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.random_subset import lots
from potstill.pipelines.selectors.selector import NOT_SELECTED, Choice, Selector


class TargetedTransport(Selector):
    """Writes ``<name>_weight``, the mass that a row, or its class, sends to the target; 1 is its even share.

    Liu et al. 2022 (NeurIPS, "Improved fine-tuning by better leveraging pre-training data"): unbalanced transport at
    cost 1 - cosine. Target points share the budget equally, as far as rows send them most of their mass; largest weight
    first, by lot on ties. O(n m) time an iteration, 32 n m bytes for n rows or classes and m target points.
    """

    kind: Literal["targeted_transport"] = "targeted_transport"
    budget: int = Field(gt=0)
    """Rows to keep."""
    embedding: str
    """Column of vectors. Rows without one are dropped for ``no_vector``."""
    target: str
    """Parquet file, or folder of them, with the target's vectors, made by the same model."""
    target_column: str | None = None
    """Column of vectors there, when it is called otherwise than ``embedding``."""
    by: str | None = None
    """Column of labels: their means are transported, not rows (null: ``no_group``). For large pools."""
    epsilon: PositiveFloat = 0.03
    """Weight of the entropy: the larger, the wider each target point draws (the paper's code: 0.1)."""
    relax_source: PositiveFloat = 0.1
    """How strongly rows are held to an even share: small lets far rows go unused."""
    relax_target: PositiveFloat = 10
    """How strongly every target point is served."""
    max_bytes: int = Field(default=4 * 2**30, ge=1)
    """Most bytes of the plan, 32 n m, and of the vectors."""
    speed: ClassVar[Mapping[str, Any]] = {"max_bytes": True}

    def reads(self) -> tuple[str, ...]:
        """Vectors and labels."""
        return tuple(dict.fromkeys(name for name in (self.embedding, self.by) if name))

    def writes(self) -> Mapping[str, pa.DataType]:
        """Transported mass over even share."""
        return {f"{self.name}_weight": pa.float32()}

    def identity(self) -> Mapping[str, Any]:
        """The content of the target's files."""
        return {"target": digest(self.target)}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Transport, then the rows of largest weight for each target point."""
        with Shards(rows, self.embedding, 1, None, self.max_bytes) as shards:
            (part,) = shards
        codes = groups.codes(rows.column(self.by))[1] if self.by else np.arange(len(rows))
        reasons = np.full(len(rows), "no_vector", object)
        reasons[part.at] = np.where(codes[part.at] < 0, "no_group", NOT_SELECTED)
        part = part.where(codes >= 0)
        points, point = means(part.features, codes[part.at])
        cost = costs(points, self.target, self.target_column or self.embedding, self.max_bytes)
        plan = even_transport(cost, self.epsilon, self.relax_source, self.relax_target)
        weights = np.full(len(rows), np.nan)
        weights[part.at] = (plan.sum(1) * len(points))[point]
        served = np.full(len(rows), groups.NONE)
        served[part.at] = plan.argmax(1)[point]
        rank = np.argsort(np.lexsort((lots(rows, seed, self.name), -weights)))
        keep = groups.first(served, groups.water_fill(groups.sizes(served), self.budget), rank)
        return Choice(keep, reasons, {f"{self.name}_weight": pa.array(weights, pa.float32(), from_pandas=True)})
