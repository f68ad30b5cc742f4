"""Where two pictures differ: the windows whose CLIP embeddings are least alike.

Source: the Difference Area Generator of Img-Diff (Jiao et al. 2024, arXiv 2408.04594), which cuts the same boxes out of
both pictures, compares them by CLIP and removes overlaps. There boxes come from a segmenter; here from a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.pipelines import schema
from potstill.pipelines.scorers.boxes import cut, least_alike, windows
from potstill.pipelines.stage import BatchFn, RowStage

if TYPE_CHECKING:
    from PIL.Image import Image

    from potstill.models.clip import Clip

BOX = pa.list_(pa.float32(), 4)


class DifferenceAreas(RowStage):
    """Writes ``<name>_boxes`` (left, top, right, bottom, each a share of width or height, the most different first),
    ``<name>_cosines`` of the two cut-outs, -1 to 1, and ``<name>_count``; of the first two pictures of a group.

    Two pictures of other proportions are compared window by window of their own size.
    """

    kind: Literal["difference_areas"] = "difference_areas"
    batch_rows: ClassVar[int] = 16
    speed: ClassVar[Mapping[str, Any]] = {"batch_size": True}

    group: str
    """Name of the grouping stage before this one."""
    model: str = "tiny"
    """As for ``clip_score``."""
    pretrained: str | None = None
    """As for ``clip_score``."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    batch_size: int = Field(default=32, ge=1, le=4096)
    """Cut-outs per forward pass."""
    windows: tuple[float, ...] = Field(default=(0.5, 1 / 3), min_length=1)
    """Sides of the windows, as shares of the picture's; they move by half of that."""
    max_cosine: float = Field(default=0.85, ge=-1, le=1)
    """Windows more alike than this do not differ. A matter of the model."""
    max_overlap: float = Field(default=0.3, ge=0, le=1)
    """Largest intersection over union of two areas; of two that overlap more, the less different one goes."""
    most: int = Field(default=5, ge=1, le=100)
    """Most areas of a pair."""

    def reads(self) -> tuple[str, ...]:
        """The group's pictures."""
        return (f"{self.group}.{schema.IMAGE_ID}", f"{self.group}.{schema.IMAGE}")

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Boxes, their cosines, their number."""
        boxes, cosines = pa.list_(BOX), pa.list_(pa.float32())
        return {f"{self.name}_boxes": boxes, f"{self.name}_cosines": cosines, f"{self.name}_count": pa.int32()}

    def identity(self) -> Mapping[str, Any]:
        """Revision of the model."""
        from potstill.models.clip import clip_revision

        return {"revision": clip_revision(self.model, self.pretrained)}

    def build(self) -> BatchFn:
        """Load the model once."""
        import torch

        from potstill.models.clip import load_clip
        from potstill.pipelines.pixels import decode

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        clip = load_clip(self.model, self.pretrained, device=device)
        grid = windows(self.windows)

        def compare(rows: pa.Table) -> Mapping[str, Any]:
            found: list[tuple[Any, ...]] = []
            errors: list[Exception | None] = []
            for group in zip(*(rows[name].to_pylist() for name in self.reads()), strict=True):
                try:
                    first, second = (decode(*each) for each in list(zip(*group, strict=True))[:2])
                    found.append(self._areas(grid, self._cosines(clip, first, second, grid)))
                    errors.append(None)
                except Exception as error:  # noqa: BLE001 (whatever one pair does, the others go on)
                    found.append((None, None, None))
                    errors.append(error)
            columns = zip(*found, strict=True) if found else [[], [], []]
            return {**dict(zip(self.writes(), columns, strict=True)), schema.ERROR: errors}

        return compare

    def _cosines(self, clip: Clip, first: Image, second: Image, grid: np.ndarray) -> np.ndarray:
        """Cosine of the two cut-outs of each window."""
        cuts = [image.crop(cut(image.size, box)) for image in (first, second) for box in grid]
        one, other = np.split(clip.encode_images(cuts, self.batch_size), 2)
        return (one * other).sum(1)

    def _areas(self, grid: np.ndarray, cosines: np.ndarray) -> tuple[list[Any], list[float], int]:
        kept = least_alike(grid, cosines, self.max_cosine, self.max_overlap)[: self.most]
        return grid[kept].tolist(), cosines[kept].tolist(), len(kept)
