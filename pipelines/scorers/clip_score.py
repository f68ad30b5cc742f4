"""Cosine similarity of an image and a text under a CLIP model, with both embeddings.

Source: Radford et al. 2021, arXiv 2103.00020; as a filter: Schuhmann et al. 2022 (LAION-5B), arXiv 2210.08402, which
keeps pairs above 0.28 under ViT-B/32. Thresholds are a matter of the model: look at the histogram first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines import schema
from potstill.pipelines.scorers.once import first_text
from potstill.pipelines.scorers.text_windows import Windows, embed_texts
from potstill.pipelines.stage import BatchFn, RowStage

if TYPE_CHECKING:
    from potstill.models.clip import Clip


class ClipScore(RowStage):
    """Writes ``<name>`` (cosine, -1 to 1; null without a text), ``<name>_image`` and ``<name>_text`` (unit vectors)."""

    kind: Literal["clip_score"] = "clip_score"
    batch_rows: ClassVar[int] = 256
    in_process: ClassVar[bool] = True
    speed: ClassVar[Mapping[str, Any]] = {"batch_size": True}

    model: str = "tiny"
    """``tiny`` (embedded), an open_clip architecture, ``hf-hub:NAME`` or ``local-dir:FOLDER``."""
    pretrained: str | None = None
    """open_clip's tag of the weights; none for ``tiny``, ``hf-hub:`` and ``local-dir:``."""
    text: tuple[str, ...] = Field(default=(schema.CAPTION, schema.RESPONSE), min_length=1)
    """Columns to take the text from: the first that is not empty."""
    join: bool = False
    """Take all of them that are not empty, one after the other: an instruction and its answer, say."""
    windows: Windows = "first"
    """Of a text longer than the model reads: its beginning; or, over windows of it, the mean embedding, or the best."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the forward pass; it belongs to the result."""
    batch_size: int = Field(default=32, ge=1, le=4096)
    """Images, or texts, per forward pass."""

    def reads(self) -> tuple[str, ...]:
        """The image and the text columns."""
        return (schema.IMAGE, *self.text)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Score as float32, embeddings as fixed-size lists of float16."""
        return {self.name: pa.float32(), f"{self.name}_image": None, f"{self.name}_text": None}

    def identity(self) -> Mapping[str, Any]:
        """Revision of the model."""
        from potstill.models.clip import clip_revision

        return {"revision": clip_revision(self.model, self.pretrained)}

    def build(self) -> BatchFn:
        """Load the model once; each image and each text of a batch is encoded once, however many rows share it."""
        import torch

        from potstill.models.clip import load_clip

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        clip = load_clip(self.model, self.pretrained, device=device, precision=self.precision)

        def score(batch: pa.Table) -> Mapping[str, Any]:
            ids = batch[schema.IMAGE_ID].to_pylist()
            images, failed = self._embed_images(clip, dict(zip(ids, batch[schema.IMAGE], strict=True)))
            texts = first_text(batch, self.text, join=self.join)
            seen = [images.get(id_) for id_ in ids]
            said = embed_texts(clip, texts, seen, self.windows, self.batch_size)
            return self._columns(seen, said) | {schema.ERROR: [failed.get(id_) for id_ in ids]}

        return score

    def _embed_images(
        self, clip: Clip, images: Mapping[str, pa.Scalar]
    ) -> tuple[dict[str, np.ndarray], dict[str, Exception]]:
        """Unit rows by image id, and what went wrong with the others."""
        from potstill.pipelines.pixels import decode

        pixels: dict[str, Any] = {}
        failed: dict[str, Exception] = {}
        for id_, data in images.items():
            try:
                pixels[id_] = clip.preprocess(decode(id_, data.as_py()))
            except Exception as error:  # noqa: BLE001 (whatever one picture does, the others go on)
                failed[id_] = error
        ids = list(pixels)
        rows: dict[str, np.ndarray] = {}
        for start in range(0, len(ids), self.batch_size):
            part = ids[start : start + self.batch_size]
            rows.update(zip(part, clip.embed([pixels[id_] for id_ in part]).cpu().numpy(), strict=True))
        return rows, failed

    def _columns(self, images: list[np.ndarray | None], texts: list[np.ndarray | None]) -> dict[str, Any]:
        pairs = zip(images, texts, strict=True)
        scores = [None if a is None or b is None else float(np.clip(a @ b, -1, 1)) for a, b in pairs]
        return {
            self.name: pa.array(scores, pa.float32()),
            f"{self.name}_image": _vectors(images),
            f"{self.name}_text": _vectors(texts),
        }


def _vectors(rows: list[np.ndarray | None]) -> pa.Array:
    """Fixed-size lists of float16; a column of nulls only has no width to take and stays of type null."""
    width = next((len(row) for row in rows if row is not None), None)
    if width is None:
        return pa.nulls(len(rows))
    return pa.array([None if row is None else row.astype(np.float16) for row in rows], schema.embedding_type(width))
