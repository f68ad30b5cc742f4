"""What the settings of all trainers share. Loads neither torch nor Ray."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from potstill.config import Settings


class Rows(Settings):
    """Rows of curated Parquet."""

    path: str | tuple[str, ...]
    """A run directory, a folder, a file or a glob; a path or an fsspec URL; or several of them."""
    where: dict[str, tuple[str | int | bool, ...]] = Field(default={})
    """Take only rows whose columns have one of these values, such as ``{split: [train]}``."""
    limit: int | None = Field(None, ge=1)
    """Take only so many rows, the first in the order of files."""

    @field_validator("path")
    @classmethod
    def _somewhere(cls, path: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not path or not all((path,) if isinstance(path, str) else path):
            raise ValueError("is empty; give a run directory, a Parquet file, a folder or a glob")
        return path


class Data(Rows):
    """The rows that a trainer learns from, and in which order."""

    window: int = Field(1024, ge=1)
    """Rows that are read and mixed together. Row groups of the files are mixed first, so that a window holds few of
    them; larger windows mix better and take more memory."""
    shuffle: bool = True


class Optimizer(Settings):
    """The optimiser. Biases and gains (parameters of one dimension) do not decay."""

    kind: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    """Of adamw."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of sgd."""
    clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient."""
    lr_factors: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default={})
    """Factor of `lr` for parameters whose names hold a text, such as ``{vision_model: 0.1}``; the first that fits
    counts. 0 is not taken: freeze instead."""


class LearningRate(Settings):
    """The learning rate over a training, as a factor of the optimiser's `lr`."""

    kind: Literal["constant", "cosine", "linear"] = "constant"
    warmup: int = Field(0, ge=0)
    """Steps in which it rises to its peak."""
    floor: float = Field(0.0, ge=0, le=1)
    """Where cosine and linear end, as a share of the peak."""
    fall: float = Field(1.0, gt=0, le=1)
    """Last share of the steps in which cosine and linear fall, after the peak was held; all after the warm-up unless
    given (warm-up, stable, decay: Hu et al. 2024, arXiv 2404.06395)."""

    def at(self, step: int, total: int) -> float:
        """Factor at a step, the first being 1."""
        if step <= self.warmup:
            return step / (self.warmup + 1)
        begin = max(self.warmup, round(total * (1 - self.fall)))
        if step <= begin:
            return 1.0
        share = min((step - begin) / max(total - begin, 1), 1.0)
        if self.kind == "cosine":
            return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * share)) / 2
        return 1.0 if self.kind == "constant" else 1 - (1 - self.floor) * share


class Compute(Settings):
    """Where and how it runs. Changes the speed; the result up to rounding, and the order of rows with the workers."""

    workers: int = Field(0, ge=0)
    """Processes of Ray Train; 0 trains in this process, without Ray."""
    gpu: bool = False
    """One GPU for each worker."""
    cpus: float = Field(1.0, gt=0)
    """CPUs of a worker."""
    threads: int | None = Field(None, ge=1)
    """Threads of torch in each worker; its own choice unless given."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Every worker has the whole model, or a shard of it (FSDP2)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes the models under autocast; weights, losses and the optimiser stay fp32."""
    compile: bool = False
    """torch.compile the student."""
    max_failures: int = Field(2, ge=0)
    """How often lost workers are started anew, from the last checkpoint."""

    @model_validator(mode="after")
    def _strategy_has_workers(self) -> Compute:
        if self.strategy == "fsdp" and not self.workers:
            raise ValueError("fsdp needs workers: set compute.workers to 1 or more, or strategy to ddp")
        return self


class Saving(Settings):
    """When to write, and which weights to hand out."""

    checkpoint_every: int = Field(500, ge=1)
    """Steps between checkpoints."""
    keep: int = Field(2, ge=1)
    """Checkpoints kept beside the best one."""
    evaluate_every: int | None = Field(None, ge=1)
    """Steps between evaluations; at the end only unless given."""
    log_every: int = Field(10, ge=1)
    """Steps between entries of the log."""
    row_log: bool = False
    """Write what a classifier says of every training row at the end of each epoch to ``log/``, for the stage
    `difficulty`. Costs a forward pass of all rows for each epoch."""
    best: str | None = None
    """Metric of the evaluation that chooses the weights to export, such as ``accuracy``; higher is better, or lower
    with a minus before it (``-loss``). The last weights unless given."""
