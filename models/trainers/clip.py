"""A CLIP: pictures and texts into one space, by contrast, or after the example of a larger one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from potstill.config import RequestError, Settings
from potstill.models.metrics.zero_shot import TEMPLATES
from potstill.models.trainers.pictures import SAMPLE_ID, View
from potstill.models.trainers.recipe import Recipe
from potstill.models.trainers.stored import check

if TYPE_CHECKING:
    from potstill.models.trainers.parquet import Groups
    from potstill.models.trainers.task import Task


class Inherit(Settings):
    """Weights cut out of a larger model (TinyCLIP); for stages the model of the stage before."""

    inherit: str
    """The larger model, named as a teacher is."""


class Network(Settings):
    """A CLIP's two towers."""

    architecture: str
    """An open_clip architecture (``ViT-B-32``), ``tiny``, ``hf-hub:ORG/REPO``, or the folder of a model."""
    config: dict[str, Any] = Field(default={})
    """Changes to open_clip's ``model_cfg`` of it, such as ``{vision_cfg: {layers: 6}}``."""
    pretrained: str | Inherit | None = None
    """Weights to begin with: a model of the same size, named as a teacher is, or ``{inherit: MODEL}``."""


class Stored(Settings):
    """A teacher's embeddings that stand in columns."""

    store: str | None = None
    """Name of the stage `teacher_clip` that wrote them; the columns and the factor then need not be named."""
    image: str
    """Vectors of the pictures."""
    text: str | tuple[str, ...]
    """Vectors of the texts, one column for each of the recipe's `text`; a list of vectors where that is a list."""
    scale: float | None = Field(None, gt=0)
    """Factor of this teacher's similarities; what the store says, or 100, unless given."""
    bias: float | None = None
    """Added to them (SigLIP)."""
    views: str | None = None
    """Column that says how each picture was cut and turned for its vectors, which stand one after the other in `image`;
    epoch n sees view n just so, after the last the first again. Without it a vector is of the picture as it is."""
    more: dict[str, str | tuple[str, ...]] = Field(default={})
    """As `text`, for each of the recipe's `more_text`."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_store(cls, given: Any) -> Any:
        given = {"store": given} if isinstance(given, str) else given
        if not isinstance(given, dict) or not given.get("store"):
            return given
        return {name: f"{given['store']}_{name}" for name in ("image", "text", "views")} | given


class ClipRecipe(Recipe):
    """Trains a CLIP on pictures with captions; teachers are other CLIPs, in memory or as stored embeddings."""

    kind: Literal["clip"] = "clip"
    network: Network
    image: str = "image"
    """Column of pictures."""
    text: str | tuple[str, ...] = "caption"
    """Columns of captions, each a text or a list of texts; every epoch draws one of a row's."""
    more_text: dict[str, str | tuple[str, ...]] = Field(default={})
    """Further texts under names of their own (``{synthetic: written}``), for losses whose `second` is that name."""
    group: str | None = None
    """Column of any values; rows of one value are never negatives of each other. Each sample by itself unless given."""
    teacher: str | None = None
    """A model: ``tiny``, a folder, ``hf-hub:ORG/REPO``, ``ViT-L-14:openai``."""
    teacher_columns: Stored | tuple[Stored, ...] = ()
    """Teachers that stand in columns, after `teacher` where losses count them: the name of a stage `teacher_clip`, the
    columns, or a list of these."""
    view: View = View()
    """How a training picture is cut and turned, the same for the student and a teacher in memory."""
    classes: tuple[str, ...] = ()
    """Names of classes, to measure zero-shot accuracy with; the evaluation then reads `label`."""
    label: str = "label"
    """Column of the class of a validation row; a row without one does not count."""
    templates: tuple[str, ...] = TEMPLATES
    """Sentences with ``{}`` for a class."""

    @model_validator(mode="after")
    def _parallel(self) -> ClipRecipe:
        for name in self.more_text:
            if name in ("image", "text"):
                raise ValueError(f"more_text may not be called {name!r}: that is the picture's or the caption's place")
        if self.stored and self.view != View():
            raise ValueError("stored embeddings are of pictures as they are, or of views to replay: leave `view` out")
        for number, stored in enumerate(self.stored):
            pairs = {"text": (self.text, stored.text)}
            pairs |= {name: (columns, stored.more.get(name, ())) for name, columns in self.more_text.items()}
            for name, (ours, theirs) in pairs.items():
                if len(columns_of(ours)) != len(columns_of(theirs)):
                    raise ValueError(
                        f"teacher_columns {number} gives {len(columns_of(theirs))} columns for the "
                        f"{len(columns_of(ours))} of {name!r}; give one vector column for each column of texts"
                    )
        return self

    @property
    def stored(self) -> tuple[Stored, ...]:
        """Teachers in columns."""
        return (self.teacher_columns,) if isinstance(self.teacher_columns, Stored) else self.teacher_columns

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        """Columns of every text, the caption's first under ``text``."""
        return {"text": columns_of(self.text)} | {name: columns_of(x) for name, x in self.more_text.items()}

    def columns(self) -> tuple[str, ...]:
        """Those of the evaluation and stored embeddings."""
        names = list(self.validation_columns())
        for stored in self.stored:
            names += [stored.image, *columns_of(stored.text), *(x for y in stored.more.values() for x in columns_of(y))]
            names += [stored.views] if stored.views else []
            names += [f"{stored.store}_about"] if stored.store else []
        return tuple(dict.fromkeys(names))

    def validation_columns(self) -> tuple[str, ...]:
        """Picture, texts, group, label, and the id that everything random is drawn from."""
        names = [SAMPLE_ID, self.image, *(column for columns in self.texts.values() for column in columns)]
        names += [self.group] if self.group else []
        names += [self.label] if self.classes else []
        return tuple(dict.fromkeys(names))

    def check(self) -> None:
        """Folders that are named must hold a model."""
        from potstill.models.trainers.clip_network import check_name

        super().check()
        begin = self.network.pretrained
        begin = begin.inherit if isinstance(begin, Inherit) else begin
        for name in (self.network.architecture, begin, self.teacher):
            if name:
                check_name(name)
        for template in self.templates:
            if "{}" not in template:
                raise RequestError(f"template {template!r} has no {{}} for the class")

    def check_rows(self, rows: Groups) -> None:
        """A store must have said something of every row, and be of one teacher."""
        for stored in self.stored:
            if stored.store:
                check(rows.whole((SAMPLE_ID, f"{stored.store}_about")), stored.store, SAMPLE_ID, {})

    def prepare(self, rows: pa.Table, *, training: bool) -> pa.Table:
        """Pixels, tokens, groups, and what is stored of teachers; see clip_rows.py."""
        from potstill.models.trainers.clip_rows import prepared

        return prepared(self, rows, training=training)

    def build(self) -> Task:
        """Student and teacher."""
        from potstill.models.trainers.clip_task import ClipTask

        return ClipTask(self)


def columns_of(names: str | tuple[str, ...]) -> tuple[str, ...]:
    """One name or several as several."""
    return (names,) if isinstance(names, str) else names
