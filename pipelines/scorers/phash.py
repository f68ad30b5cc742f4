"""A 256-bit perceptual hash: pictures that look alike have hashes that differ in few bits. And, since it sees no
colour and hardly a faint thing beside a strong one, the mean colours of a few fields.

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
FIELDS = 8
"""Fields a side, each a mean colour. What is in one place is in one field still after it was resized or marked."""
_SIDE, _KEPT = 64, 16
_SCALE = 1 << 12
"""The transform's matrix in whole numbers: all sums then stay below 2**53 and are exact in float64, so that the bits
depend on no batch size and no processor, and coefficients that cancel are 0, not a rounding error of either sign."""
_COSINES = np.rint(_SCALE * np.cos(np.pi * np.arange(_KEPT)[:, None] * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE)))


class PerceptualHash(RowStage):
    """Writes ``<name>``: 32 bytes that differ in few bits between pictures that look alike; and ``<name>_colours``: 192
    bytes, the mean red, green and blue of 8 x 8 fields, 0 to 255, row by row."""

    kind: Literal["phash"] = "phash"
    in_process: ClassVar[bool] = True
    version: ClassVar[int] = 2
    batch_rows: ClassVar[int] = 256

    def reads(self) -> tuple[str, ...]:
        """The image."""
        return (schema.IMAGE,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Binary of 32 and of 192 bytes."""
        return {self.name: pa.binary(BITS // 8), f"{self.name}_colours": pa.binary(FIELDS**2 * 3)}

    def build(self) -> BatchFn:
        """Nothing to load."""

        def score(rows: pa.Table) -> Mapping[str, Any]:
            small, errors = each_picture(rows, lambda image: (shrunk(image), colours(image)))
            there = [one[0] for one in small if one is not None]
            hashes = iter(phash(np.stack(there)) if there else ())
            values = [(None, None) if one is None else (next(hashes).tobytes(), one[1].tobytes()) for one in small]
            columns = zip(*values, strict=True) if values else ((), ())
            found = zip(self.writes().items(), columns, strict=True)
            return {name: pa.array(column, kind) for (name, kind), column in found} | {schema.ERROR: errors}

        return score


def shrunk(image: Image.Image) -> np.ndarray:
    """The picture as (64, 64) uint8 grey."""
    return np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))


def colours(image: Image.Image) -> np.ndarray:
    """The mean colours of an RGB picture's fields as (8, 8, 3) uint8."""
    return np.asarray(image.resize((FIELDS, FIELDS), Image.Resampling.BOX))


def phash(grey: np.ndarray) -> np.ndarray:
    """Hashes of (N, 64, 64) uint8 grey as (N, 32) uint8: bits by rising vertical, then horizontal frequency."""
    coefficients = (_COSINES @ grey.astype(np.float64) @ _COSINES.T).reshape(len(grey), BITS)
    return np.packbits(coefficients > np.median(coefficients, axis=1, keepdims=True), axis=1)


def distances(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Bits, 0 to 256, in which hash ``one`` (32,) differs from each of ``others`` (N, 32); both uint8."""
    return np.bitwise_count(one ^ others).sum(axis=1, dtype=np.int64)
