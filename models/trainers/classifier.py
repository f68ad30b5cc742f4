"""A classifier of pictures (any timm model) or of stored vectors (a small MLP)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from potstill.config import RequestError, Settings
from potstill.models.losses.numerics import IGNORED
from potstill.models.trainers.pictures import View, stored_pictures
from potstill.models.trainers.recipe import Recipe

if TYPE_CHECKING:
    from potstill.models.trainers.task import Task

INPUT, TARGET = "input", "target"


class Network(Settings):
    """A classifier's network."""

    architecture: str = "mlp"
    """``mlp`` over a column of vectors, or the name of a timm model over pictures."""
    hidden: tuple[int, ...] = ()
    """Widths of the hidden layers of an mlp."""
    size: int = Field(224, ge=8)
    """Side of the pictures in pixels."""
    pretrained: str | None = None
    """Weights to begin with: a folder that a classifier was exported to, or ``timm`` for timm's own."""


class ClassifierRecipe(Recipe):
    """Trains a classifier on a column of labels; a teacher is another classifier."""

    kind: Literal["classifier"] = "classifier"
    network: Network = Network()
    input: str = "image"
    """Column of pictures, or of vectors for an mlp."""
    label: str = "label"
    """Column of class names or numbers; a row without one has no target."""
    classes: tuple[str, ...] = Field(min_length=2)
    """All classes, in the order of the outputs."""
    teacher: str | None = None
    """Folder that a classifier was exported to."""
    view: View = View()
    """How a training picture is cut and turned."""

    @model_validator(mode="after")
    def _distinct(self) -> ClassifierRecipe:
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            raise ValueError(f"classes names {', '.join(twice)} more than once")
        return self

    def columns(self) -> tuple[str, ...]:
        """The input, the label, and the id that augmentation is drawn from."""
        return ("sample_id", self.input, self.label)

    def check(self) -> None:
        """A folder that is named must be there."""
        super().check()
        for folder in (self.teacher, self.network.pretrained):
            if folder and folder != "timm" and not (Path(folder) / "config.json").exists():
                raise RequestError(f"{folder} holds no config.json: give the folder that a classifier was exported to")

    def prepare(self, rows: pa.Table, *, training: bool) -> pa.Table:
        """``input`` (pixels as bytes, or float32 numbers) and ``target`` (int64, -100 for none)."""
        names = rows[self.label].cast(pa.string())
        known = pc.index_in(names, pa.array(self.classes, pa.string()))
        unknown = pc.and_(pc.is_null(known), pc.is_valid(names))
        if pc.any(unknown).as_py():
            value = names.filter(unknown)[0].as_py()
            raise RequestError(
                f"column {self.label!r} holds {value!r}, which is not among the {len(self.classes)} classes"
            )
        target = pc.fill_null(known.cast(pa.int64()), IGNORED)
        if self.network.architecture == "mlp":
            given = rows[self.input]
            if not (pa.types.is_list(given.type) or pa.types.is_fixed_size_list(given.type)):
                raise RequestError(f"an mlp wants vectors, and column {self.input!r} is {given.type}")
            given = given.cast(pa.list_(pa.float32()))
        else:
            view = self.view if training else View()
            given = stored_pictures(rows, self.input, self.network.size, view, self.seed)
        return pa.table({INPUT: given, TARGET: target})

    def build(self) -> Task:
        """Student and teacher."""
        from potstill.models.trainers.classifier_task import ClassifierTask

        return ClassifierTask(self)
