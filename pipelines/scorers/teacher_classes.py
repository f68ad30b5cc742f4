"""What a classifier says of several views of each picture, stored for distillation.

Source: dataset reinforcement (Faghri et al. 2023, arXiv 2303.08983); the best classes only: FKD (Shen and Xing 2022,
arXiv 2112.01528). The teacher runs once, whatever number of trainings and epochs replays it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.config import RequestError
from potstill.models.engines.settings import folder_digest
from potstill.models.trainers import stored
from potstill.pipelines import schema
from potstill.pipelines.scorers.views import Views, through_views
from potstill.pipelines.stage import BatchFn, RowStage


class TeacherClasses(RowStage):
    """Writes ``<name>_idx``, ``<name>_logp`` (the best classes of each view), ``<name>_views`` and ``<name>_about``."""

    kind: Literal["teacher_classes"] = "teacher_classes"
    batch_rows: ClassVar[int] = 64
    speed: ClassVar[Mapping[str, Any]] = {"batch_size": True}

    model: str = Field(min_length=1)
    """Folder of a classifier that was trained here, over pictures."""
    views: Views = Views()
    """Which views the teacher sees: `count`, `area`, `aspect`, `flip`, `seed`."""
    top_k: int = Field(default=10, ge=1)
    """Classes kept of each view; fewer than the model has."""
    temperature: float = Field(default=1.0, gt=0)
    """At which the log-probabilities are taken; a training uses the same."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    batch_size: int = Field(default=32, ge=1, le=4096)
    """Views per forward pass."""

    def reads(self) -> tuple[str, ...]:
        """The picture."""
        return (schema.IMAGE,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Lists of views times ``top_k``; float16 keeps 0.4 % of a probability at -8 nats, bfloat16 3 %."""
        kinds = {
            "idx": pa.list_(pa.int32()),
            "logp": pa.list_(pa.float16()),
            "views": stored.VIEWS,
            "about": pa.string(),
        }
        return {f"{self.name}_{column}": kind for column, kind in kinds.items()}

    def identity(self) -> Mapping[str, Any]:
        """Digest of the model."""
        if not (Path(self.model) / "config.json").is_file():
            raise RequestError(f"model {self.model!r} holds no config.json: give the folder of a trained classifier")
        return {"model": folder_digest(Path(self.model))}

    def build(self) -> BatchFn:
        """Load the classifier."""
        import torch

        from potstill.models.trainers.classifier_task import load_classifier

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        model, classes = load_classifier(Path(self.model))
        if self.top_k >= len(classes) or not model.pictures:
            over = "pictures" if model.pictures else "vectors"
            raise RequestError(
                f"stage {self.name!r}: top_k {self.top_k} of a model with {len(classes)} classes over {over}; it wants "
                "pictures, and more classes than are kept (the rest is known when all but one are)"
            )
        model = model.to(device).eval()
        size = model.network.size
        facts = {"teacher": self.identity()["model"], "temperature": self.temperature, "size": size}
        words = stored.about(classes=stored.names_digest(classes), count=len(classes), **facts)

        def best(pixels: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                x = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).to(device)
                logp, idx = (model(x)[0].double() / self.temperature).log_softmax(-1).topk(self.top_k)
            return torch.cat([idx.double(), logp], 1).cpu().numpy()

        def say(rows: pa.Table) -> Mapping[str, Any]:
            seen = through_views(rows, self.views, size, self.batch_size, best)
            idx, logp = (
                [None if said is None else said[:, part].ravel().astype(kind) for said in seen.said]
                for part, kind in ((slice(self.top_k), np.int32), (slice(self.top_k, None), np.float16))
            )
            about = [words if how else None for how in seen.drawn]
            values = {"idx": idx, "logp": logp, "views": pa.array(seen.drawn, stored.VIEWS), "about": about}
            return {f"{self.name}_{column}": value for column, value in values.items()} | {schema.ERROR: seen.errors}

        return say
