"""A 256-bit perceptual hash: pictures that look alike have hashes that differ in few bits.

The picture in grey, shrunk to 64 x 64, through a cosine transform; a bit says whether one of the 16 x 16 coefficients
of lowest frequency is above their median. Source: Zauner 2010, "Implementation and benchmarking of perceptual image
hash functions", with 16 x 16 instead of 8 x 8 coefficients, since 64 bits collide on flat, sparse pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image

from potstill.pipelines import schema
from potstill.pipelines.scorers.once import each_picture
from potstill.pipelines.stage import BatchFn, RowStage

BITS = 256
_SIDE, _KEPT = 64, 16
_SCALE = 1 << 12
"""The transform's matrix in whole numbers: all sums then stay below 2**53 and are exact in float64, so that the bits
depend on no batch size and no processor, and coefficients that cancel are 0, not a rounding error of either sign."""
_COSINES = np.rint(_SCALE * np.cos(np.pi * np.arange(_KEPT)[:, None] * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE)))


class PerceptualHash(RowStage):
    """Writes ``<name>``: 32 bytes that differ in few bits between pictures that look alike."""

    kind: Literal["phash"] = "phash"
    batch_rows: ClassVar[int] = 256

    def reads(self) -> tuple[str, ...]:
        """The image."""
        return (schema.IMAGE,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Binary of 32 bytes."""
        return {self.name: pa.binary(BITS // 8)}

    def build(self) -> BatchFn:
        """Nothing to load."""

        def score(rows: pa.Table) -> Mapping[str, Any]:
            small, errors = each_picture(rows, shrunk)
            there = [grey for grey in small if grey is not None]
            hashes = iter(phash(np.stack(there)) if there else ())
            values = [None if grey is None else next(hashes).tobytes() for grey in small]
            return {self.name: pa.array(values, pa.binary(BITS // 8)), schema.ERROR: errors}

        return score


def shrunk(image: Image.Image) -> np.ndarray:
    """The picture as (64, 64) uint8 grey."""
    return np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))


def phash(grey: np.ndarray) -> np.ndarray:
    """Hashes of (N, 64, 64) uint8 grey as (N, 32) uint8: bits by rising vertical, then horizontal frequency."""
    coefficients = (_COSINES @ grey.astype(np.float64) @ _COSINES.T).reshape(len(grey), BITS)
    return np.packbits(coefficients > np.median(coefficients, axis=1, keepdims=True), axis=1)


def distances(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Bits, 0 to 256, in which hash ``one`` (32,) differs from each of ``others`` (N, 32); both uint8."""
    return np.bitwise_count(one ^ others).sum(axis=1, dtype=np.int64)
