"""A key that is equal for pictures with the same pixels, however they are encoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
import xxhash
from PIL import Image

from potstill.pipelines import schema
from potstill.pipelines.pixels import decode
from potstill.pipelines.scorers.once import each_picture
from potstill.pipelines.stage import BatchFn, RowStage

BYTES = 16


class PixelHash(RowStage):
    """Writes ``<name>``: xxh3-128 of the size and the decoded RGB pixels, upright and on white.

    Equal for a picture and its copy in another lossless format or with other metadata; a perceptual hash at distance 0
    only says that two pictures look alike.
    """

    kind: Literal["pixel_hash"] = "pixel_hash"
    in_process: ClassVar[bool] = True

    def reads(self) -> tuple[str, ...]:
        """The image."""
        return (schema.IMAGE,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Binary of 16 bytes."""
        return {self.name: pa.binary(BYTES)}

    def build(self) -> BatchFn:
        """Nothing to load."""

        def score(rows: pa.Table) -> Mapping[str, Any]:
            found, errors = each_picture(rows, pixel_hash, decode)
            return {self.name: pa.array(found, pa.binary(BYTES)), schema.ERROR: errors}

        return score


def pixel_hash(image: Image.Image) -> bytes:
    """Hash of an RGB picture: two pictures of other shape with the same bytes differ by their size."""
    state = xxhash.xxh3_128(f"{image.width}x{image.height}:".encode())
    state.update(image.tobytes())
    return state.digest()
