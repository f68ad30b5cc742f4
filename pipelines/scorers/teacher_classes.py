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
from potstill.models.trainers.pictures import View, drawn_pixels
from potstill.pipelines import schema
from potstill.pipelines.stage import BatchFn, RowStage


class TeacherClasses(RowStage):
    """Writes ``<name>_idx``, ``<name>_logp`` (the best classes of each view), ``<name>_views`` and ``<name>_about``."""

    kind: Literal["teacher_classes"] = "teacher_classes"
    batch_rows: ClassVar[int] = 64
    speed: ClassVar[Mapping[str, Any]] = {"batch_size": True}

    model: str = Field(min_length=1)
    """Folder of a classifier that was trained here, over pictures."""
    views: int = Field(default=1, ge=1, le=1000)
    """Views of each picture; one is replayed in each epoch."""
    view: View = View()
    """How a view is cut and turned."""
    seed: int = 0
    """Seed of the views."""
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
            have = f"{len(classes)} classes over {'pictures' if model.pictures else 'vectors'}"
            raise RequestError(
                f"stage {self.name!r}: top_k {self.top_k} of a model with {have}; it wants pictures, and more"
            )
        model = model.to(device).eval()
        facts = {"teacher": self.identity()["model"], "temperature": self.temperature, "size": model.network.size}
        words = stored.about(classes=stored.names_digest(classes), count=len(classes), **facts)

        def best(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            with torch.no_grad():
                x = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).to(device)
                logp, idx = (model(x)[0] / self.temperature).log_softmax(-1).topk(self.top_k)
            return idx.cpu().numpy(), logp.cpu().numpy()

        return lambda rows: self._say(rows, best, model.network.size, words)

    def _say(self, rows: pa.Table, best: Any, size: int, words: str) -> Mapping[str, Any]:
        """All views of all rows, in batches across rows; a picture that does not decode is an error of its row."""
        drawn, pixels, failed = [], [], []
        for sample, data in zip(rows[schema.SAMPLE_ID].to_pylist(), rows[schema.IMAGE].to_pylist(), strict=True):
            try:
                seen = [drawn_pixels(data, size, self.view, self.seed, sample, n + 1) for n in range(self.views)]
                drawn.append([how for how, _ in seen])
                pixels += [each for _, each in seen]
                failed.append(None)
            except OSError as error:
                drawn.append(None)
                failed.append(error)
        parts = [best(np.stack(pixels[at : at + self.batch_size])) for at in range(0, len(pixels), self.batch_size)]
        said = (
            iter(zip(*(np.concatenate(each) for each in zip(*parts, strict=True)), strict=True)) if parts else iter(())
        )
        idx, logp = [], []
        for how in drawn:
            mine = [next(said) for _ in range(self.views)] if how else None
            idx.append(mine and np.concatenate([each for each, _ in mine]).astype(np.int32))
            logp.append(mine and np.concatenate([each for _, each in mine]).astype(np.float16))
        about = [words if how else None for how in drawn]
        values = {"idx": idx, "logp": logp, "views": pa.array(drawn, stored.VIEWS), "about": about}
        return {f"{self.name}_{column}": value for column, value in values.items()} | {schema.ERROR: failed}
