"""Plain numbers about a picture: is it blurred, blank, noise, grey, narrow, small?

All but the sides are measured on a thumbnail (longer side 256 pixels, see :func:`potstill.pipelines.pixels.thumbnail`),
so that they compare between pictures of different size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines import schema
from potstill.pipelines.scorers.once import each_picture
from potstill.pipelines.scorers.pixel_measures import measures
from potstill.pipelines.stage import BatchFn, RowStage

Side = Literal["aspect", "min_side"]
Noun = Literal["aspect", "min_side", "sharpness", "entropy", "contrast", "blank", "noise", "colourfulness"]


class ImageStats(RowStage):
    """Writes ``<name>_<noun>`` for sharpness, entropy, contrast, blank, noise, colourfulness, aspect, min_side."""

    kind: Literal["image_stats"] = "image_stats"
    in_process: ClassVar[bool] = True

    columns: tuple[Noun, ...] = Field(default=get_args(Noun), min_length=1)
    """Which to write. With ``aspect`` and ``min_side`` alone, no pixel is read."""

    def _pixels(self) -> bool:
        return not set(self.columns) <= set(get_args(Side))

    def reads(self) -> tuple[str, ...]:
        """Width and height; the picture only if its pixels count."""
        return (schema.WIDTH, schema.HEIGHT, *((schema.IMAGE,) if self._pixels() else ()))

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """``min_side`` as int32, everything else as float32."""
        return {f"{self.name}_{noun}": pa.int32() if noun == "min_side" else pa.float32() for noun in self.columns}

    def build(self) -> BatchFn:
        """Nothing to load."""

        def score(rows: pa.Table) -> Mapping[str, Any]:
            width, height = (rows[name].to_numpy() for name in (schema.WIDTH, schema.HEIGHT))
            low, high = np.minimum(width, height), np.maximum(width, height)
            columns: dict[str, Any] = {"min_side": low, "aspect": high / low}
            errors: list[Exception | None] = [None] * rows.num_rows
            if self._pixels():
                found, errors = each_picture(rows, measures)
                columns |= {noun: [one and one[noun] for one in found] for noun in self.columns if noun not in columns}
            return {f"{self.name}_{noun}": columns[noun] for noun in self.columns} | {schema.ERROR: errors}

        return score
