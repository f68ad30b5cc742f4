"""A model that sees and answers: any image-text-to-text model of transformers, trained on answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from potstill.config import RequestError, Settings
from potstill.models.engines.settings import TransformersEngine
from potstill.models.trainers import stored
from potstill.models.trainers.recipe import Recipe

if TYPE_CHECKING:
    from potstill.models.trainers.parquet import Groups
    from potstill.models.trainers.task import Task

SAMPLE_ID = "sample_id"
Part = Literal["projector", "language", "vision", "all", "lora"]


class Lora(Settings):
    """Low-rank additions to the linear layers of the language model (Hu et al. 2021, arXiv 2106.09685)."""

    r: int = Field(16, ge=1)
    """Rank."""
    alpha: float = Field(32.0, gt=0)
    """The additions count alpha / r times."""
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] | None = None
    """Last names of the layers, such as ``q_proj``; all linear layers of the language model unless given."""


class TeacherColumns(Settings):
    """A teacher's best classes as they are stored: for each target token of a row, in order, lists of k."""

    idx: str = "teacher_idx"
    """Column of token ids, ``list<list<int32>>``."""
    logp: str = "teacher_logp"
    """Column of log-probabilities in nats, ``list<list<float16>>``, among all tokens."""
    temperature: float = Field(1.0, gt=0)
    """At which they were computed."""
    store: str | None = None
    """Name of the stage `teacher_tokens` that wrote them; what it says of itself is then checked at the
    beginning."""


class VlmRecipe(Recipe):
    """Trains an image-text-to-text model on the assistant's tokens; a teacher is another with the same tokenizer."""

    kind: Literal["vlm"] = "vlm"
    pretrained: str = Field(min_length=1)
    """The model to begin with: ``tiny``, a folder in the transformers format (an earlier training's ``model``), or a
    hub name."""
    revision: str | None = None
    layers: int | None = Field(None, ge=1)
    """Keep only the first so many layers of the language model: a smaller student out of a larger model."""
    teacher: str | None = None
    """The teacher, as `pretrained`. Preferences without one measure against the frozen beginning."""
    teacher_columns: TeacherColumns | None = None
    """A stored teacher instead; the name of a stage `teacher_tokens` alone will do."""
    trainable: tuple[Part, ...] = Field(("projector", "language"), min_length=1)
    """What learns."""
    lora: Lora = Lora()
    """How ``lora`` in `trainable` learns; what is exported is merged."""
    image: str | None = "image"
    """Column of pictures: files, or lists of files; None where rows are text alone."""
    instruction: str | None = "instruction"
    """Column of questions; None, or no text in a row: the picture alone is the question."""
    response: str = "response"
    """Column of answers."""
    messages: str | None = None
    """Column of whole conversations instead, as LLaVA (`from`, `value`) or chat models (`role`, `content`) write them;
    every turn of the assistant is learnt. A turn's ``weight`` says otherwise: 0 leaves it out, and one of the user that
    has a weight is learnt too."""
    branches: str | None = None
    """Column of lists of conversations instead, each by itself, all about the row's pictures. They go through the model
    as one row in which each sees the pictures and itself alone: as separate rows, and cheaper. Such rows are measured
    by their loss alone."""
    chosen: str | None = None
    """Column of better answers, for losses on preferences."""
    rejected: str | None = None
    """Column of worse answers."""
    winner: str | None = None
    """Column that says which of the two is better: a for `chosen`, b for `rejected`."""
    reference_columns: tuple[str, str] | None = None
    """Columns of the log-probabilities (nats) that the reference gives to the chosen and the rejected answer."""
    system: str | None = None
    """What the system says where a conversation does not begin with it."""
    max_tokens: int | None = Field(None, ge=8)
    """Longer rows lose what is beyond, but never part of a picture; without it a row beyond the model's context is an
    error."""
    answer_tokens: int = Field(64, ge=0)
    """Most tokens of a greedy answer in an evaluation; 0 measures the loss only."""
    dense_vocabulary: int = Field(8192, ge=0)
    """Logits over more tokens are made for a few places at a time, to save memory, where all losses can do with it."""
    export_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the exported weights."""

    @field_validator("teacher_columns", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        return {"idx": f"{given}_idx", "logp": f"{given}_logp", "store": given}

    @model_validator(mode="after")
    def _fits(self) -> VlmRecipe:
        if "lora" in self.trainable and {"all", "language"} & set(self.trainable):
            raise ValueError("lora replaces training the language model itself: drop lora, or language and all")
        if (self.chosen is None) != (self.rejected is None):
            raise ValueError("give both of chosen and rejected")
        if self.chosen is None and (self.winner or self.reference_columns):
            raise ValueError("winner and reference_columns are for preferences: give chosen and rejected")
        if sum(each is not None for each in (self.chosen, self.messages, self.branches)) > 1:
            raise ValueError("give one of messages, branches, and chosen with rejected")
        given = [self.teacher, self.teacher_columns, self.reference_columns]
        if sum(each is not None for each in given) > 1:
            raise ValueError("give one of teacher, teacher_columns and reference_columns")
        if self.teacher_columns and self.branches:
            raise ValueError("teacher_columns hold one answer a row: leave branches out, or give a teacher")
        if self.teacher_columns and self.chosen:
            raise ValueError("teacher_columns hold one answer a row: give preferences a teacher or reference_columns")
        return self

    @property
    def prefers(self) -> bool:
        """Whether rows are pairs of answers."""
        return self.chosen is not None

    def columns(self) -> tuple[str, ...]:
        """The id, for messages and what else was named."""
        whole = self.messages or self.branches
        answers = (whole,) if whole else (self.instruction, self.response)
        answers = (self.instruction, self.chosen, self.rejected, self.winner) if self.prefers else answers
        teacher = self.teacher_columns
        said = (teacher.idx, teacher.logp, teacher.store and f"{teacher.store}_about") if teacher else ()
        named = (SAMPLE_ID, self.image, *answers, *said, *(self.reference_columns or ()))
        return tuple(dict.fromkeys(name for name in named if name))

    def check(self) -> None:
        """Models that are folders must be there, and losses that want a teacher must have one."""
        super().check()
        for name in (self.pretrained, self.teacher):
            if name:
                TransformersEngine(model=name).path()
        wanting = sorted({loss.title for loss in self.losses if any(n.startswith("teacher") for n in loss.needs())})
        has = self.teacher or self.teacher_columns or self.prefers
        if wanting and not has:
            raise RequestError(f"{', '.join(wanting)} wants a teacher: give teacher or teacher_columns")
        paired = sorted({loss.title for loss in self.losses if loss.kind in PREFERENCES})
        if paired and not self.prefers:
            raise RequestError(f"{', '.join(paired)} wants pairs of answers: name the columns chosen and rejected")
        if self.prefers:
            both = [loss.title for loss in self.losses if loss.kind not in PREFERENCES and loss.mask != "chosen"]
            if both:
                raise RequestError(f"{', '.join(both)} would learn the rejected answers too; give it mask: chosen")

    def check_rows(self, rows: Groups) -> None:
        """A stored teacher must have read every row, with the student's tokens, template, pictures and system."""
        teacher = self.teacher_columns
        if teacher and teacher.store:
            from potstill.models.trainers.vlm_rows import reader_of

            wanted = reader_of(self, self.pretrained).identity()
            wanted |= {"temperature": teacher.temperature, "system": self.system}
            stored.check(rows.whole((SAMPLE_ID, f"{teacher.store}_about")), teacher.store, SAMPLE_ID, wanted)

    def prepare(self, rows: pa.Table, *, training: bool) -> pa.Table:
        """Each row as blobs of tokens and of pixels (`vlm_rows`)."""
        from potstill.models.trainers.vlm_rows import prepared

        return prepared(self, rows)

    def build(self) -> Task:
        """Student and teacher."""
        from potstill.models.trainers.vlm_task import VlmTask

        return VlmTask(self)

    def model_named(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """What ``from_pretrained`` is called with."""
        folder = TransformersEngine(model=name).path()
        revision = self.revision if name == self.pretrained else None
        return str(folder) if folder else name, {"revision": revision or "main", "local_files_only": folder is not None}


PREFERENCES = ("dpo", "llava_mod_preference")
"""Losses on pairs of answers."""
