"""What a CLIP says of several views of each picture and of its text, stored for distillation.

Source: MobileCLIP (Vasu et al. 2024, arXiv 2311.17049, section 4): embeddings of augmented pictures are stored with the
parameters of the augmentation. Several such stages in one plan are an ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.models.trainers import stored
from potstill.pipelines import schema
from potstill.pipelines.scorers.once import first_text
from potstill.pipelines.scorers.views import Views, through_views
from potstill.pipelines.stage import BatchFn, RowStage


class TeacherClip(RowStage):
    """Writes ``<name>_image`` (unit vectors of all views, one after the other), ``<name>_text`` (null without a text),
    ``<name>_views`` and ``<name>_about``.
    """

    kind: Literal["teacher_clip"] = "teacher_clip"
    batch_rows: ClassVar[int] = 64
    in_process: ClassVar[bool] = True
    speed: ClassVar[Mapping[str, Any]] = {"batch_size": True}

    model: str = "tiny"
    """As `clip_score` has it: ``tiny``, an open_clip architecture, ``hf-hub:NAME`` or ``local-dir:FOLDER``."""
    pretrained: str | None = None
    """open_clip's tag of the weights; none for ``tiny``, ``hf-hub:`` and ``local-dir:``."""
    text: tuple[str, ...] = Field(default=(schema.CAPTION, schema.RESPONSE), min_length=1)
    """Columns to take the text from: the first that is not empty."""
    views: Views = Views()
    """Which views the teacher sees: `count`, `area`, `aspect`, `flip`, `seed`."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Number format of the forward pass; it belongs to the result."""
    batch_size: int = Field(default=32, ge=1, le=4096)
    """Views, or texts, per forward pass."""

    def reads(self) -> tuple[str, ...]:
        """The picture and the text columns."""
        return (schema.IMAGE, *self.text)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Vectors as lists of float16."""
        lists = pa.list_(pa.float16())
        kinds = {"image": lists, "text": lists, "views": stored.VIEWS, "about": pa.string()}
        return {f"{self.name}_{column}": kind for column, kind in kinds.items()}

    def identity(self) -> Mapping[str, Any]:
        """Revision of the model."""
        from potstill.models.clip import clip_revision

        return {"revision": clip_revision(self.model, self.pretrained)}

    def build(self) -> BatchFn:
        """Load the model; a text that rows share is encoded once a batch."""
        import torch
        from PIL import Image

        from potstill.models.clip import load_clip

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        clip = load_clip(self.model, self.pretrained, device=device, precision=self.precision)
        size = clip.preprocess(Image.new("RGB", (64, 64))).shape[0]
        scale = float(clip.model.logit_scale.exp())
        words = stored.about(teacher=clip.revision, size=size, width=clip.embedding_dim, scale=scale)

        def embed(pixels: np.ndarray) -> np.ndarray:
            return clip.embed(list(torch.from_numpy(pixels))).cpu().numpy()

        def say(rows: pa.Table) -> Mapping[str, Any]:
            seen = through_views(rows, self.views, size, self.batch_size, embed)
            texts = first_text(rows, self.text)
            different = list(dict.fromkeys(text for text in texts if text))
            known = dict(zip(different, clip.encode_texts(different, self.batch_size), strict=True))
            values = {
                "image": [None if said is None else said.ravel().astype(np.float16) for said in seen.said],
                "text": [known[text].astype(np.float16) if text else None for text in texts],
                "views": pa.array(seen.drawn, stored.VIEWS),
                "about": [words if how else None for how in seen.drawn],
            }
            return {f"{self.name}_{column}": value for column, value in values.items()} | {schema.ERROR: seen.errors}

        return say
