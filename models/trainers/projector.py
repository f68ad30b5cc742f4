"""Projectors between frozen encoders: small networks over stored embeddings, trained by contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import Field

from potstill.config import RequestError
from potstill.models.trainers.pictures import SAMPLE_ID
from potstill.models.trainers.recipe import Recipe

if TYPE_CHECKING:
    from potstill.models.trainers.task import Task


class ProjectorRecipe(Recipe):
    """Trains an MLP on each side of two columns of vectors (Maniparambil et al. 2024, arXiv 2409.19425).

    No encoder runs: the vectors were stored when the data was made, by the stage `clip_score`, say.
    """

    kind: Literal["projector"] = "projector"
    image: str = "clip_score_image"
    """Column of the pictures' vectors."""
    text: str = "clip_score_text"
    """Column of the texts' vectors."""
    group: str | None = None
    """Column of any values; rows of one value are never negatives of each other."""
    hidden: tuple[int, ...] = ()
    """Widths of the hidden layers of both; without them each is one matrix."""
    width: int = Field(256, ge=2)
    """Width of the common space."""
    scale: float = Field(1 / 0.07, gt=0)
    """Factor of similarities at the beginning; it is learnt, up to 100."""

    def columns(self) -> tuple[str, ...]:
        """The vectors, the group, and the id."""
        return (SAMPLE_ID, self.image, self.text, *((self.group,) if self.group else ()))

    def prepare(self, rows: pa.Table, *, training: bool) -> pa.Table:
        """Vectors as float32 lists, and a number for each group."""
        made = {}
        for side, name in (("image", self.image), ("text", self.text)):
            given = rows[name]
            if not (pa.types.is_list(given.type) or pa.types.is_fixed_size_list(given.type)):
                raise RequestError(
                    f"column {name!r} is {given.type}; a projector wants vectors, such as clip_score writes"
                )
            if given.null_count:
                raise RequestError(
                    f"column {name!r} has no vector in {given.null_count} of {rows.num_rows} rows; drop them"
                )
            made[side] = given.cast(pa.list_(pa.float32()))
        if self.group:
            made["group"] = rows[self.group].cast(pa.string())
        return pa.table(made)

    def build(self) -> Task:
        """Two projectors."""
        from potstill.models.trainers.projector_task import ProjectorTask

        return ProjectorTask(self)
