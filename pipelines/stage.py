"""The contracts of a stage, and the actor that runs row stages over chunks. The only file that calls map_batches.

A stage is frozen settings. Making one costs microseconds, on the driver, and refuses every wrong value; models load in
``build``, on the worker.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from potstill.config import Settings

BatchFn = Callable[[pa.Table], Mapping[str, Any]]
"""Takes rows (``sample_id``, ``image_id`` and the columns the stage reads); returns one sequence of equal length for
each column it writes (lists, NumPy or Arrow arrays; ``None`` is null). It may add ``"error"``: a list with an exception
for each row that failed and ``None`` for the others; those rows go to quarantine and the rest goes on."""


class Stage(Settings):
    """One entry of a plan's ``stages``."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)
    """Name in reports and column names; the kind, unless given."""

    @model_validator(mode="before")
    @classmethod
    def _named_after_kind(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and not data.get("name"):
            return {**data, "name": data.get("kind") or cls.model_fields["kind"].default}
        return data


class RowStage(Stage):
    """A stage that adds columns to each row and never drops one."""

    version: ClassVar[int] = 1
    """Raised when the same settings give other results than before: cached columns are then computed anew."""
    batch_rows: ClassVar[int] = 64
    """Rows handed to the built function in one call, unless the plan's resources say otherwise."""

    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Columns that the built function needs."""

    @abstractmethod
    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Columns that the built function returns; type None is taken from the result (an embedding's width)."""

    def gate(self) -> str | None:
        """The written column, if any, that holds the reason why a row must go no further (null: it goes on)."""
        return None

    def identity(self) -> Mapping[str, Any]:
        """What the result depends on beside the settings: model ids and revisions, prompt versions. No torch."""
        return {}

    @abstractmethod
    def build(self) -> BatchFn:
        """Load what the stage needs, on the worker, and return the function of a batch."""
