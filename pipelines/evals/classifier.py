"""A classifier that was trained here, or the predictions of any other in a column: is it right, and does it know."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from potstill.config import RequestError
from potstill.models.engines.settings import folder_digest
from potstill.models.metrics.accuracy import mean_per_class
from potstill.models.metrics.calibration import calibration_error, fit_temperature
from potstill.pipelines import schema
from potstill.pipelines.evals.batches import Batches, Seen
from potstill.pipelines.evals.classes import class_names, classified
from potstill.pipelines.evals.evaluation import Evaluation, Measured, single
from potstill.pipelines.evals.reading import Reader, encoded

CONFIG = "config.json"


class ClassifierEvaluation(Evaluation):
    """Accuracy, over rows and over classes; of a model also its loss, calibration error and best temperature."""

    kind: Literal["classifier"] = "classifier"
    model: str | None = None
    """Folder of a training, or the folder that it exported a classifier to."""
    prediction: str | None = None
    """Instead of a model: column with the class that was predicted; null is a wrong one."""
    input: str = schema.IMAGE
    """Column of pictures, or of vectors for an mlp."""
    label: str = "label"
    """Column with the class: its name, or its number in the model's classes."""
    blend: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(gt=0)]] | None = None
    """Of a model with two heads: share of the first in what is predicted, and temperature of the second; those it was
    trained with unless given."""
    bins: int = Field(default=15, ge=1)
    """Of the calibration error, equally wide."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """``auto`` takes a GPU if there is one."""
    batch_size: int = Field(default=64, ge=1, le=8192)
    """Inputs per forward pass."""

    @model_validator(mode="after")
    def _one_of_both(self) -> ClassifierEvaluation:
        if (self.model is None) == (self.prediction is None):
            raise ValueError("give one of model (a folder) and prediction (a column)")
        return self

    def columns(self) -> tuple[str, ...]:
        """The label, and the input or the prediction."""
        return self.label, self.prediction or self.input

    def model_identity(self) -> Mapping[str, Any]:
        """The digest of the folder, if there is one."""
        return {"model": self.model, "digest": folder_digest(self._folder())} if self.model else {}

    def measure(self, rows: Reader) -> Measured:
        """Read labels first: where no row has one, no model need be loaded."""
        labels = rows.values(self.label)
        return self._predicted(rows, labels) if self.prediction else self._computed(rows, labels)

    def _folder(self) -> Path:
        given = Path(str(self.model)).expanduser()
        for folder in (given, given / "model"):
            if (folder / CONFIG).is_file():
                return folder
        raise RequestError(f"model {self.model!r}: no {CONFIG} there; give the folder of a training, or its model/")

    def _predicted(self, rows: Reader, labels: Sequence[Any]) -> Measured:
        classes = class_names((), labels, self.label)
        said = [None if value is None else str(value) for value in rows.values(str(self.prediction))]
        truth = [None if value is None else str(value) for value in labels]
        counted = [row for row, name in enumerate(truth) if name is not None]
        hits = np.array([said[row] == truth[row] for row in counted], dtype=np.float64)
        pictures = rows.pictures()
        silent = len(truth) - len(counted)
        return Measured(
            {
                "top1": self.mean("top1", hits, [pictures[row] for row in counted]),
                "per_class": single(mean_per_class(hits, np.array([truth[row] for row in counted])), len(counted)),
            },
            {"label": truth, "predicted": said},
            [None] * len(said),
            {"no label": silent} if silent else {},
            {"classes": len(classes)},
        )

    def _computed(self, rows: Reader, labels: Sequence[Any]) -> Measured:
        begin = time.monotonic()
        batches, classes = self._load()
        loading = round(time.monotonic() - begin, 3)
        class_names(classes, labels, self.label)
        seen = batches.run(rows, self.input)
        found = self._judged(seen, labels, classes) if len(seen.outputs) else Measured()
        found.errors = seen.errors
        found.facts |= {"inputs": len(seen.outputs), "loading_seconds": loading}
        return found

    def _load(self) -> tuple[Batches, list[str]]:
        """The model as a function of cells, and its classes."""
        import torch

        from potstill.models.losses.dho import blend
        from potstill.models.trainers.classifier_task import load_classifier
        from potstill.models.trainers.pictures import pixels

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        try:
            model, classes = load_classifier(self._folder())
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise RequestError(f"cannot load the classifier {self.model!r}: {type(error).__name__}: {error}") from error
        model.to(device).eval()

        def compute(inputs: Sequence[np.ndarray]) -> np.ndarray:
            with torch.inference_mode():
                batch = torch.from_numpy(np.stack(inputs)).to(device)
                logits, second = model(batch.permute(0, 3, 1, 2) if model.pictures else batch)
                if second is not None:
                    alpha, beta = self.blend or model.blend
                    both = blend(logits.float(), second.float(), alpha=alpha, beta=beta)
                    logits = both.clamp(min=torch.finfo(both.dtype).tiny).log()
                return logits.float().cpu().numpy()

        if model.pictures:
            return Batches(encoded, lambda data: pixels(data, model.network.size), compute, self.batch_size), classes
        width = next(model.parameters()).shape[1]
        return Batches(lambda cell: _vector(cell, width), _numbers, compute, self.batch_size), classes

    def _judged(self, seen: Seen, labels: Sequence[Any], classes: Sequence[str]) -> Measured:
        found, at, truth = classified(self, seen.outputs, seen.places, labels, classes)
        if not at.size:
            return found
        logits = seen.outputs[at].astype(np.float64)
        shares = logits - logits.max(axis=1, keepdims=True)
        shares -= np.log(np.exp(shares).sum(axis=1, keepdims=True))
        own = -np.take_along_axis(shares, truth[:, None], axis=1)[:, 0]
        found.metrics["loss"] = self.mean("loss", own, at.tolist())
        right = shares.argmax(axis=1) == truth
        error = calibration_error(np.exp(shares.max(axis=1)).clip(max=1), right, bins=self.bins)
        found.metrics["calibration_error"] = single(error, len(own))
        found.metrics["best_temperature"] = single(fit_temperature(logits, truth), len(own))
        return found


def _vector(cell: Any, width: int) -> bytes:
    """A vector's float32 numbers. Raises ``ValueError`` for another number of them."""
    values = np.asarray(cell if cell is not None else (), dtype=np.float32)
    if values.shape != (width,):
        raise ValueError(f"the cell has {values.size} numbers, the model wants {width}")
    return values.tobytes()


def _numbers(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.float32).copy()
