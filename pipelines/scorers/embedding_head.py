"""A head on stored embeddings: aesthetic score, watermark, NSFW, or any small network, without another look at pixels.

Source: LAION-5B (Schuhmann et al. 2022, arXiv 2210.08402) ships such scores, made by heads on CLIP embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import Field

from potstill.config import RequestError
from potstill.models.head import Layer, forward, load_layers
from potstill.pipelines.rowset import unit, vectors
from potstill.pipelines.stage import BatchFn, RowStage


class EmbeddingHead(RowStage):
    """Writes ``<name>`` (float32): the head's output; null where the embedding is.

    The file holds one linear layer or several: ``….weight`` (out, in) and, if there is one, ``….bias`` (out,), in the
    order of the numbers in their names, as ``torch.nn.Sequential`` saves them.
    """

    kind: Literal["embedding_head"] = "embedding_head"
    batch_rows: ClassVar[int] = 4096
    in_process: ClassVar[bool] = True

    features: str = "clip_score_image"
    """Column of embeddings."""
    weights: str = Field(min_length=1)
    """A safetensors file."""
    normalise: bool = True
    """Give the head unit vectors, as most heads on CLIP were trained on."""
    activation: Literal["none", "relu", "gelu"] = "none"
    """Between layers: the aesthetic predictor has none, in spite of its many layers."""
    output: Literal["raw", "sigmoid", "softmax"] = "raw"
    """``raw``: the number itself; the others make it a probability."""
    index: int = Field(default=0, ge=0)
    """Which of several outputs to write."""

    def reads(self) -> tuple[str, ...]:
        """The embeddings."""
        return (self.features,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """The head's output."""
        return {self.name: pa.float32()}

    def identity(self) -> Mapping[str, Any]:
        """Digest of the file. Raises :class:`RequestError` when it is not there."""
        path = Path(self.weights)
        if not path.is_file():
            raise RequestError(f"weights {self.weights!r}: there is no such file; give a .safetensors file")
        return {"weights": xxhash.xxh3_128_hexdigest(path.read_bytes())}

    def build(self) -> BatchFn:
        """Read the layers."""
        layers = load_layers(Path(self.weights))
        if self.index >= len(layers[-1][1]):
            raise RequestError(f"index {self.index}: the head in {self.weights!r} has {len(layers[-1][1])} outputs")

        def score(rows: pa.Table) -> Mapping[str, Any]:
            column = rows[self.features]
            known = np.asarray(column.is_valid())
            values = np.zeros(len(column), np.float32)
            features = vectors(column)
            if len(features):
                values[known] = self._outputs(layers, features)
            return {self.name: pa.array(values, mask=~known)}

        return score

    def _outputs(self, layers: Sequence[Layer], features: np.ndarray) -> np.ndarray:
        """The wanted output for features (n, d): float32 (n,)."""
        if features.shape[1] != layers[0][0].shape[1]:
            raise RequestError(
                f"stage {self.name!r}: the head wants embeddings of width {layers[0][0].shape[1]}, the column "
                f"{self.features!r} has {features.shape[1]}; it was trained on another model"
            )
        if self.normalise:
            features = unit(features)
        outputs = forward(features, layers, self.activation)
        if self.output == "softmax":
            shifted = np.exp(outputs - outputs.max(1, keepdims=True))
            outputs = shifted / shifted.sum(1, keepdims=True)
        chosen = outputs[:, self.index]
        return 0.5 * (1 + np.tanh(chosen / 2)) if self.output == "sigmoid" else chosen
