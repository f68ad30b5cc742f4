"""A classifier of pictures (any timm model) or of stored vectors (a small MLP)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from potstill.config import RequestError, Settings
from potstill.models.losses.numerics import IGNORED
from potstill.models.trainers import stored
from potstill.models.trainers.pictures import SAMPLE_ID, View, stored_pictures
from potstill.models.trainers.recipe import Recipe

if TYPE_CHECKING:
    from potstill.models.trainers.parquet import Groups
    from potstill.models.trainers.task import Task

INPUT, TARGET = "input", "target"
BEST, LOGP, HEAT = "best", "logp", "temperature"


class Network(Settings):
    """A classifier's network."""

    architecture: str = "mlp"
    """``mlp`` over a column of vectors, or the name of a timm model over pictures."""
    hidden: tuple[int, ...] = ()
    """Widths of the hidden layers of an mlp."""
    size: int = Field(224, ge=8)
    """Side of the pictures in pixels."""
    dual_head: bool = False
    """A second head beside the first, for the loss `dho`: the first learns from labels, the second from the teacher."""
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
    teacher_columns: str | None = None
    """Instead: name of the stage `teacher_classes` that stored what a teacher says. Its views are replayed."""
    view: View = View()
    """How a training picture is cut and turned."""
    blend: tuple[float, float] = (0.5, 1.0)
    """Of two heads: share of the first in what is predicted (0 to 1), and temperature of the second. The evaluation
    gives the best ones of the published grid."""

    @model_validator(mode="after")
    def _distinct(self) -> ClassifierRecipe:
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            raise ValueError(f"classes names {', '.join(twice)} more than once")
        if self.teacher and self.teacher_columns:
            raise ValueError("give teacher or teacher_columns, not both")
        if self.teacher_columns and self.view != View():
            raise ValueError("stored views are replayed, so leave `view` out, or store other ones")
        return self

    def columns(self) -> tuple[str, ...]:
        """The input, the label, the id that augmentation is drawn from, and what is stored of a teacher."""
        store = [f"{self.teacher_columns}_{name}" for name in ("idx", "logp", "views", "about")]
        return (*self.validation_columns(), *(store if self.teacher_columns else ()))

    def validation_columns(self) -> tuple[str, ...]:
        """The same without the teacher."""
        return (SAMPLE_ID, self.input, self.label)

    def check(self) -> None:
        """A folder that is named must be there."""
        super().check()
        for folder in (self.teacher, self.network.pretrained):
            if folder and folder != "timm" and not (Path(folder) / "config.json").exists():
                raise RequestError(f"{folder} holds no config.json: give the folder that a classifier was exported to")

    def check_rows(self, rows: Groups) -> None:
        """A stored teacher must have said something of every row, and be the same one."""
        if self.teacher_columns:
            about = rows.whole((SAMPLE_ID, f"{self.teacher_columns}_about"))
            stored.check(about, self.teacher_columns, SAMPLE_ID, self._wanted())

    def _wanted(self) -> dict[str, Any]:
        return {"classes": stored.names_digest(self.classes), "size": self.network.size}

    def prepare(self, rows: pa.Table, *, training: bool) -> pa.Table:
        """``input`` (pixels as bytes, or float32 numbers) and ``target`` (int64, -100 for none); and what a stored
        teacher says of the view of the row's epoch.
        """
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
            view, replay = self.view if training else View(), None
            if self.teacher_columns and training:
                replay = stored.views_of_epoch(rows, self.teacher_columns)
            given = stored_pictures(rows, self.input, self.network.size, view, self.seed, replay)
        return pa.table({INPUT: given, TARGET: target} | (self._teacher(rows) if training else {}))

    def _teacher(self, rows: pa.Table) -> dict[str, pa.Array]:
        """The stored teacher's best classes, and the temperature that it was asked at."""
        store = self.teacher_columns
        if not store:
            return {}
        found = stored.check(rows, store, SAMPLE_ID, self._wanted())
        idx, logp = stored.best_of_epoch(rows, store)
        heat = pa.array(np.full(rows.num_rows, found["temperature"]))
        return {BEST: pa.array(list(idx)), LOGP: pa.array(list(logp)), HEAT: heat}

    def build(self) -> Task:
        """Student and teacher."""
        from potstill.models.trainers.classifier_task import ClassifierTask

        return ClassifierTask(self)
