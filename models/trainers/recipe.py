"""A recipe: all settings of one training. Each kind of trainer adds its models and columns."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field, model_validator

from potstill.config import RequestError, Settings
from potstill.models.losses.registry import AnyLoss
from potstill.models.trainers.pruned import Pruned, filled_in
from potstill.models.trainers.settings import Compute, Data, LearningRate, Optimizer, Rows, Saving

if TYPE_CHECKING:
    from potstill.models.trainers.parquet import Groups
    from potstill.models.trainers.task import Task


class Recipe(Settings):
    """What all trainers share."""

    kind: str
    data: Data
    validation: Rows | None = None
    """Rows to evaluate on; without them nothing is evaluated."""
    losses: tuple[AnyLoss, ...] = Field(min_length=1)
    batch_size: int = Field(64, ge=1)
    """Rows of an optimiser's step, over all workers."""
    accumulation: int = Field(1, ge=1)
    """Micro-batches that a worker makes of its share, to save memory."""
    steps: int | None = Field(None, ge=1)
    epochs: float | None = Field(None, gt=0)
    """How long: one of `steps` and `epochs`."""
    pruned: Pruned | None = None
    """Sets weights that are ``alpha`` or ``1 - alpha``, by how much of a pool the data is."""
    optimizer: Optimizer = Optimizer()
    learning_rate: LearningRate = LearningRate()
    seed: int = 0
    compute: Compute = Compute()
    saving: Saving = Saving()

    @model_validator(mode="before")
    @classmethod
    def _alpha(cls, tree: Any) -> Any:
        return filled_in(tree) if isinstance(tree, dict) else tree

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give one of steps and epochs")
        pieces = max(self.compute.workers, 1) * self.accumulation
        if self.batch_size % pieces:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide into {self.compute.workers} workers times "
                f"{self.accumulation} micro-batches; make it a multiple of {pieces}"
            )
        if self.saving.row_log and self.kind != "classifier":
            raise ValueError(f"saving.row_log is for classifiers; a {self.kind} has no outputs for labels")
        if self.saving.best and not self.validation:
            raise ValueError(f"saving.best is {self.saving.best!r}, but there are no validation rows to measure it on")
        return self

    @property
    def micro_batch(self) -> int:
        """Rows of one micro-batch of one worker."""
        return self.batch_size // (max(self.compute.workers, 1) * self.accumulation)

    def total_steps(self, rows: int) -> int:
        """Steps of the whole training on so many rows."""
        return self.steps or max(1, round(rows * (self.epochs or 0) / self.batch_size))

    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Columns that training reads."""

    def validation_columns(self) -> tuple[str, ...]:
        """Columns that evaluation reads."""
        return self.columns()

    def check_rows(self, rows: Groups) -> None:
        """Raise :class:`RequestError` for what can be found out from some column of all rows, before the first step."""

    @abstractmethod
    def prepare(self, rows: pa.Table, *, training: bool) -> pa.Table:
        """Rows as numbers: pictures decoded and augmented, texts as tokens. Runs on the workers of Ray Data, one window
        at a time, and must follow from the rows, `seed` and the column `_epoch` alone.
        """

    @abstractmethod
    def build(self) -> Task:
        """The models, loaded."""

    def check(self) -> None:
        """Raise :class:`RequestError` for what can be found out before anything loads: no GPU, a folder that is not
        there.
        """
        if self.compute.gpu:
            import torch

            if self.compute.workers == 0 and not torch.cuda.is_available():
                raise RequestError("compute.gpu is set and torch finds no GPU here; set compute.gpu=false to use CPUs")


def same(recipe: Recipe, other: Recipe) -> list[str]:
    """Names of the settings in which two recipes differ, those left out that only change speed or writing."""
    free = {"compute", "saving"}
    mine, theirs = recipe.model_dump(mode="json"), other.model_dump(mode="json")
    return sorted(
        name for name in mine.keys() | theirs.keys() if name not in free and mine.get(name) != theirs.get(name)
    )


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with the package."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.yaml"))}
