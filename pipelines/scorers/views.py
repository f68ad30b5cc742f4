"""Random views of pictures through a model, in batches across rows: what the stages that store teachers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pydantic import Field

from potstill.config import Settings
from potstill.models.trainers.pictures import View, drawn_pixels
from potstill.pipelines import schema


class Views(Settings):
    """Which views of a picture a teacher sees."""

    count: int = Field(default=1, ge=1, le=1000)
    """Views of each picture; one is replayed in each epoch."""
    area: tuple[float, float] | None = None
    """Share of the picture's area that a view has, least and most; its middle square unless given."""
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    """Width by height of a view."""
    flip: float = Field(0.0, ge=0, le=1)
    """Chance to be turned left to right."""
    seed: int = 0
    """What the views are drawn from, with the id of the sample and the number of the view."""

    def view(self) -> View:
        """How one is drawn. Raises ``ValueError`` for a range that is none."""
        return View(area=self.area, aspect=self.aspect, flip=self.flip)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model said of the views of each row; None for a row whose picture does not decode."""

    drawn: list[list[dict] | None]
    said: list[np.ndarray | None]
    """(views, numbers) each."""
    errors: list[Exception | None]


def through_views(
    rows: pa.Table, views: Views, size: int, batch_size: int, model: Callable[[np.ndarray], np.ndarray]
) -> Seen:
    """Every view of every row through ``model``: pixels (n, size, size, 3) bytes to (n, numbers)."""
    drawn: list[list[dict] | None] = []
    errors: list[Exception | None] = []
    pixels: list[np.ndarray] = []
    view = views.view()
    for sample, data in zip(rows[schema.SAMPLE_ID].to_pylist(), rows[schema.IMAGE].to_pylist(), strict=True):
        try:
            seen = [drawn_pixels(data, size, view, views.seed, sample, epoch + 1) for epoch in range(views.count)]
        except OSError as error:
            drawn.append(None)
            errors.append(error)
            continue
        drawn.append([how for how, _ in seen])
        errors.append(None)
        pixels += [each for _, each in seen]
    parts = [model(np.stack(pixels[at : at + batch_size])) for at in range(0, len(pixels), batch_size)]
    each = iter(np.concatenate(parts).reshape(-1, views.count, parts[0].shape[1]) if parts else ())
    return Seen(drawn, [next(each) if how else None for how in drawn], errors)
