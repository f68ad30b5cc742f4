"""The contracts of a stage, and the actor that runs row stages over chunks. The only file that calls map_batches.

A stage is frozen settings. Making one costs microseconds, on the driver, and refuses every wrong value; models load in
``build``, on the worker.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from potstill.config import Settings

if TYPE_CHECKING:
    from ray.data import Dataset

BatchFn = Callable[[pa.Table], Mapping[str, Any]]
"""Takes rows (``sample_id``, ``image_id`` and the columns the stage reads); returns one sequence of equal length for
each column it writes (lists, NumPy or Arrow arrays; ``None`` is null). It may add ``"error"``: a list with an exception
for each row that failed and ``None`` for the others; those rows go to quarantine and the rest goes on."""


class WorkerFault(Exception):
    """Raised by a stage whose process cannot go on (a dead engine, a lost GPU): the worker exits and is replaced."""


class Resources(Settings):
    """What one stage gets. Consecutive stages with equal resources share their actors, and so models and pixels."""

    actors: int = Field(default=1, ge=1)
    """Worker processes."""
    max_actors: int | None = Field(default=None, ge=1)
    """Let the pool grow up to this many, when the cluster has room."""
    num_cpus: float = Field(default=1, ge=0)
    """CPUs per actor."""
    num_gpus: float = Field(default=0, ge=0)
    """GPUs per actor; fractions share one."""
    memory: int | None = Field(default=None, ge=1)
    """Bytes of memory to reserve per actor."""
    custom: dict[str, float] = Field(default_factory=dict)
    """Custom Ray resources per actor."""
    batch_rows: int | None = Field(default=None, ge=1)
    """Rows handed to the stage in one call, instead of the stage's own default."""
    chunks_in_flight: int | None = Field(default=None, ge=1, le=64)
    """Chunks that an actor works on at the same time, instead of the stage's own default. A stage that takes one chunk
    at a time keeps to one."""
    barrier: bool = False
    """Finish everything before this stage first, and give back its actors."""
    python: str | None = None
    """Python executable of another environment that holds potstill and what the stage needs."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the actors."""

    def pool(self) -> tuple[Any, ...]:
        """What must be equal for two stages to share their actors."""
        aside = {"batch_rows", "chunks_in_flight", "barrier"}
        return tuple(sorted(self.model_dump(exclude=aside, mode="json").items(), key=str))

    def needs(self) -> dict[str, float]:
        """Ray resources that the smallest pool takes."""
        each = {"CPU": self.num_cpus, "GPU": self.num_gpus, **self.custom}
        return {name: amount * self.actors for name, amount in each.items() if amount}


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

    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Columns that the stage needs."""

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Columns that the stage adds; type None is taken from the result (an embedding's width)."""
        return {}


class RowStage(Stage):
    """A stage that adds columns to each row and never drops one."""

    version: ClassVar[int] = 1
    """Raised when the same settings give other results than before: cached columns are then computed anew."""
    speed: ClassVar[Mapping[str, Any]] = {}
    """Settings that change how fast a result comes, not the result: pydantic's ``exclude``; no part of the cache."""
    in_process: ClassVar[bool] = False
    """Whether a small local run may compute it in threads of its own process, without Ray: the built function may be
    called from several threads, and never raises :class:`WorkerFault`."""
    batch_rows: ClassVar[int] = 64
    """Rows handed to the built function in one call, unless the plan's resources say otherwise."""

    @abstractmethod
    def writes(self) -> Mapping[str, pa.DataType | None]:
        """Columns that the built function returns; type None is taken from the result (an embedding's width)."""

    def chunks_in_flight(self) -> int:
        """Chunks that one actor works on at the same time, each in a thread of its own. More than 1 promises that the
        built function may be called from several threads, and that a row's result does not depend on rows beside it.
        """
        return 1

    def gate(self) -> str | None:
        """The written column, if any, that holds the reason why a row must go no further (null: it goes on)."""
        return None

    def identity(self) -> Mapping[str, Any]:
        """What the result depends on beside the settings: model ids and revisions, prompt versions. No torch."""
        return {}

    @abstractmethod
    def build(self) -> BatchFn:
        """Load what the stage needs, on the worker, and return the function of a batch."""


def side_by_side(stage: RowStage, resources: Resources) -> int:
    """Chunks of which a stage's function is called at the same time in one actor."""
    own = stage.chunks_in_flight()
    return (resources.chunks_in_flight or own) if own > 1 else 1


def apply(
    dataset: Dataset, worker: type, args: tuple[Any, ...], resources: Resources, name: str, chunks: int = 1
) -> Dataset:
    """The dataset's blocks through a pool of actors of class ``worker``; a block is one chunk and stays whole.

    Each actor is called for ``chunks`` blocks at the same time, and has as many more waiting.
    """
    from ray.data import ActorPoolStrategy

    size: dict[str, Any] = {"size": resources.actors}
    if resources.max_actors:
        size = {"min_size": resources.actors, "max_size": max(resources.actors, resources.max_actors)}
    size |= {"max_concurrent_calls_per_actor": chunks, "max_tasks_in_flight_per_actor": 2 * chunks}
    environment: dict[str, Any] = {}
    if resources.env:
        environment["env_vars"] = resources.env
    if resources.python:
        environment["py_executable"] = resources.python
    return dataset.map_batches(
        type(name, (worker,), {}),
        fn_constructor_args=args,
        compute=ActorPoolStrategy(**size, enable_true_multi_threading=chunks > 1),
        batch_size=None if not resources.num_gpus else 2**31,
        batch_format="pyarrow",
        num_cpus=resources.num_cpus,
        num_gpus=resources.num_gpus or None,
        memory=resources.memory,
        resources=resources.custom or None,
        runtime_env=environment or None,
    )
