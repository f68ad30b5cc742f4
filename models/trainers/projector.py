"""Projectors between frozen encoders: small networks over stored embeddings, trained by contrast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from potstill.config import RequestError
from potstill.models.trainers import stored
from potstill.models.trainers.pictures import SAMPLE_ID
from potstill.models.trainers.recipe import Recipe

if TYPE_CHECKING:
    from potstill.models.trainers.parquet import Groups
    from potstill.models.trainers.task import Task

MASK = "mask."
"""What the names of prepared masks begin with."""
PAIRED, TAUGHT = "paired", "taught"
WRONG = "negatives"
BEST, LOGP, HEAT = "best", "logp", "temperature"
VECTORS = pa.list_(pa.float32())


class ProjectorRecipe(Recipe):
    """Trains an MLP on each side of two columns of vectors (Maniparambil et al. 2024, arXiv 2409.19425).

    No encoder runs: the vectors were stored when the data was made, by the stage `clip_score`, say. Rows of several
    sorts may stand in one table; the `mask` of a loss says which of them it counts.
    """

    kind: Literal["projector"] = "projector"
    image: str = "clip_score_image"
    """Column of the pictures' vectors."""
    text: str = "clip_score_text"
    """Column of the texts' vectors. A row may have none where every loss of pairs has a `mask` without it."""
    group: str | None = None
    """Column of any values; rows of one value are never negatives of each other."""
    masks: tuple[str, ...] = ()
    """Columns of true and false, each a `mask` for losses. Two more are always there: `paired`, rows with a text, and
    `taught`, rows of which the stored teacher says something."""
    negatives: str | None = None
    """Column of lists of texts' vectors that are wrong for the row, for `info_nce` with `wrong: negatives`."""
    negatives_each: int = Field(4, ge=1)
    """Take so many of them, the first ones; a row may have fewer, or none."""
    classes: str | None = None
    """A safetensors file with a tensor `classes` (C, T), vectors of texts that stand for classes, and in its metadata
    `names`, a JSON list. Similarities of pictures to them are logits, with a learnt factor of their own."""
    teacher_columns: str | None = None
    """Name of the stage `teacher_classes` that stored what a classifier says: best classes, for `topk_kl`."""
    hidden: tuple[int, ...] = ()
    """Widths of the hidden layers of both; without them each is one matrix."""
    width: int = Field(256, ge=2)
    """Width of the common space."""
    scale: float = Field(1 / 0.07, gt=0)
    """Factor of similarities at the beginning; it is learnt, up to 100."""
    normalise: bool = True
    """Bring the stored vectors to length 1 first."""
    text_bias: bool = True
    """Whether layers of the texts' side have a bias; the texts' matrix of a CLIP has none."""
    noise: float = Field(0.0, ge=0)
    """Standard deviation of Gaussian noise that training adds to the pictures' vectors."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of their numbers that training sets to 0."""

    @model_validator(mode="after")
    def _known(self) -> ProjectorRecipe:
        if self.teacher_columns and not self.classes:
            raise ValueError("teacher_columns wants classes: the file with the vectors of the teacher's classes")
        there = {*self.masks, PAIRED, TAUGHT}
        for loss in self.losses:
            if loss.mask and loss.mask not in there:
                raise ValueError(f"the mask {loss.mask!r} of {loss.title} is none of {', '.join(sorted(there))}")
        return self

    def columns(self) -> tuple[str, ...]:
        """The vectors, the group, the id, masks, wrong texts, and what is stored of a teacher."""
        given = [name for name in (self.group, *self.masks, self.negatives) if name]
        store = [f"{self.teacher_columns}_{name}" for name in ("idx", "logp", "views", "about")]
        return tuple(dict.fromkeys((*self.validation_columns(), *given, *(store if self.teacher_columns else ()))))

    def validation_columns(self) -> tuple[str, ...]:
        """The vectors and the id."""
        return (SAMPLE_ID, self.image, self.text)

    def check(self) -> None:
        """The file of classes must be there and say their names."""
        super().check()
        if self.classes:
            self.class_names()

    def class_names(self) -> list[str]:
        """Names of the classes, in their order."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(Path(self.classes or ""), "numpy") as file:
                size, names = file.get_slice("classes").get_shape()[0], json.loads(file.metadata()["names"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise RequestError(
                f"classes: {self.classes} is no safetensors file with a tensor `classes` and, in its metadata, `names` "
                f"as a JSON list ({error})"
            ) from error
        if size != len(names):
            raise RequestError(f"classes: {self.classes} has {size} vectors and {len(names)} names")
        return names

    def check_rows(self, rows: Groups) -> None:
        """One stored teacher, of these classes, must have said something of some rows."""
        if self.teacher_columns:
            about = rows.whole((SAMPLE_ID, f"{self.teacher_columns}_about"))
            about = about.filter(pc.is_valid(about[1]))
            if not about.num_rows:
                raise RequestError(f"no row has anything in {self.teacher_columns}_about; run the stage that stores it")
            self._about(about)

    def _about(self, rows: pa.Table) -> dict[str, Any]:
        wanted = {"classes": stored.names_digest(self.class_names())}
        return stored.check(rows, self.teacher_columns or "", SAMPLE_ID, wanted)

    def prepare(self, rows: pa.Table, *, training: bool) -> pa.Table:
        """Vectors as float32 lists; in training also a value for each group, masks, wrong texts and the teacher's."""
        made = {"image": _vectors(rows, self.image), "text": _vectors(rows, self.text)}
        if made["image"].null_count:
            raise RequestError(_lacking(self.image, made["image"].null_count, rows.num_rows) + "; drop them")
        if not training:
            return pa.table(made)
        if self.group:
            made["group"] = rows[self.group].cast(pa.string())
        if self.negatives:
            made[WRONG] = _lists(rows, self.negatives)
        masks = {name: _bools(rows, name) for name in self.masks} | {PAIRED: pc.is_valid(made["text"])}
        if self.teacher_columns:
            taught = pc.is_valid(rows[f"{self.teacher_columns}_about"])
            made |= self._teacher(rows, taught.to_numpy())
            masks[TAUGHT] = taught
        masks = {name: mask.to_numpy() for name, mask in masks.items()}
        self._complete("student.text", self.text, masks, PAIRED)
        self._complete("teacher.logits", f"{self.teacher_columns}_idx", masks, TAUGHT)
        return pa.table(made | {MASK + name: pa.array(mask) for name, mask in masks.items()})

    def _complete(self, need: str, column: str, masks: dict[str, np.ndarray], mark: str) -> None:
        """Every row that a loss counts must have what it needs."""
        there = masks.get(mark)
        for loss in self.losses:
            if there is None or need not in loss.needs():
                continue
            lacks = int((~there & (masks[loss.mask] if loss.mask else True)).sum())
            if lacks:
                raise RequestError(
                    f"{_lacking(column, lacks, len(there))} that the loss {loss.title} counts; drop them, or give the "
                    f"loss a mask without them, such as {mark}"
                )

    def _teacher(self, rows: pa.Table, taught: np.ndarray) -> dict[str, pa.Array]:
        """The stored teacher's best classes and the temperature that it was asked at; nulls where it was not."""
        idx, logp = [[None] * rows.num_rows for _ in range(2)]
        heat, store = None, self.teacher_columns or ""
        if taught.any():
            known = rows.filter(pa.array(taught))
            heat = self._about(known)["temperature"]
            for row, *best in zip(np.flatnonzero(taught), *stored.best_of_epoch(known, store), strict=True):
                idx[row], logp[row] = best
        temperature = pa.array([heat] * rows.num_rows, pa.float64())
        return {BEST: pa.array(idx, pa.list_(pa.int64())), LOGP: pa.array(logp, VECTORS), HEAT: temperature}

    def build(self) -> Task:
        """Two projectors."""
        from potstill.models.trainers.projector_task import ProjectorTask

        return ProjectorTask(self)


def _lacking(column: str, count: int, rows: int) -> str:
    return f"column {column!r} has no vector in {count} of {rows} rows"


def _is_list(type_: pa.DataType) -> bool:
    return pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)


def _vectors(rows: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of vectors."""
    given = rows[name]
    if not _is_list(given.type):
        raise RequestError(f"column {name!r} is {given.type}; a projector wants vectors, such as clip_score writes")
    return given.cast(VECTORS)


def _lists(rows: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of lists of vectors."""
    given = rows[name]
    if not (_is_list(given.type) and _is_list(given.type.value_type)):
        raise RequestError(f"column {name!r} is {given.type}; negatives are a list of vectors in each row")
    given = given.cast(pa.list_(VECTORS))
    if pc.list_flatten(given).null_count:
        raise RequestError(f"column {name!r} has a list with a null among its vectors; leave it out of the list")
    return given


def _bools(rows: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of true and false; null is false."""
    if not pa.types.is_boolean(rows[name].type):
        raise RequestError(f"column {name!r} is {rows[name].type}; a mask is true or false")
    return pc.fill_null(rows[name], False)
