"""A data filtering network: trained on the rows that are trusted, it scores all of them.

Source: Fang et al. 2023 (DFN), arXiv 2309.17425, which then keeps the top 15 to 30 % (a ``set_filter``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field, field_validator

from potstill.pipelines.filters import expression
from potstill.pipelines.rowset import RowSet, unit
from potstill.pipelines.selectors.selector import Choice, Selector


class FilterNetwork(Selector):
    """Writes ``<name>`` (float32, -1 to 1; null without both embeddings) and drops nothing.

    Trains two projections of the stored embeddings (:mod:`potstill.models.filter_network`), of up to ``most`` trusted
    rows. O(steps batch d^2) time, 2 n d floats of memory.
    """

    kind: Literal["filter_network"] = "filter_network"

    image: str = "clip_score_image"
    """Column of image embeddings."""
    text: str = "clip_score_text"
    """Column of text embeddings, of the same width."""
    trusted: str
    """Condition for the rows to learn from: ``source_name == 'own'``, a judge's score, a curated list."""
    most: int = Field(default=100_000, ge=16)
    """Most trusted rows to learn from, chosen by their ids."""
    steps: int = Field(default=300, ge=1)
    """Steps of AdamW."""
    batch: int = Field(default=256, ge=2)
    """Pairs of a step."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate."""
    weight_decay: float = Field(default=0.1, ge=0)
    """How strongly the score is pulled back to the CLIP score."""

    @field_validator("trusted")
    @classmethod
    def _is_condition(cls, value: str) -> str:
        expression.parse(value)
        return value

    def reads(self) -> tuple[str, ...]:
        """Both embeddings, and what tells the trusted rows."""
        return tuple(dict.fromkeys((self.image, self.text, *expression.names(expression.parse(self.trusted)))))

    def writes(self) -> Mapping[str, pa.DataType]:
        """The score."""
        return {self.name: pa.float32()}

    def select(self, rows: RowSet, seed: int) -> Choice:
        """Keeps every row. Raises ``ValueError`` for fewer than 16 trusted rows."""
        from potstill.models import filter_network

        (images, at), (texts, with_text) = rows.features(self.image), rows.features(self.text)
        both, first, second = np.intersect1d(at, with_text, assume_unique=True, return_indices=True)
        images, texts = unit(images[first]), unit(texts[second])
        tree = expression.parse(self.trusted)
        holds = expression.evaluate(tree, {name: rows.column(name) for name in expression.names(tree)}, len(rows))
        trusted = np.flatnonzero(np.asarray(holds.fill_null(False))[both])[: self.most]
        if len(trusted) < 16:
            found = f"{self.trusted!r} holds for {len(trusted)} rows with both embeddings"
            raise ValueError(f"stage {self.name!r}: {found}; 16 at least are needed to learn from")
        settings = self.model_dump(include={"steps", "batch", "lr", "weight_decay"})
        start = xxhash.xxh3_64_intdigest(f"{seed}/{self.name}".encode()) % 2**63
        projections = filter_network.fit(images[trusted], texts[trusted], **settings, seed=start)
        values = np.full(len(rows), np.nan, np.float32)
        values[both] = filter_network.score(images, texts, projections)
        return Choice(np.ones(len(rows), bool), columns={self.name: pa.array(values, mask=np.isnan(values))})
