"""The interface of all losses: what they get, what they give, and what their settings share.

A loss is a pure function of tensors with a settings class beside it. The class says what it needs, over what it is
averaged, and gives the **sum** over the rows of one micro-batch; `count` gives by how much that sum is to be divided.
The count needs labels alone, so that a trainer knows the counts of all ranks and micro-batches before the first
backward pass, and a mean is never a mean of means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from potstill.config import Settings
from potstill.models.losses.comm import Alone, Comm
from potstill.models.losses.numerics import IGNORED
from potstill.models.losses.schedule import Progress, Schedule

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Output:
    """What a model says about the B rows of a micro-batch; what it does not say is None or absent."""

    logits: Any = None
    """(B, C), or (B, L, V) where position t predicts `Labels.target[:, t]`; or a stand-in of `logits.py`."""
    image: Tensor | None = None
    """Embeddings of pictures (B, D), of any length."""
    text: Tensor | None = None
    """Embeddings of texts (B, D)."""
    scale: Tensor | float | None = None
    """Factor of similarities, as it is multiplied (CLIP: exp of the learnt number)."""
    bias: Tensor | float | None = None
    """Added to similarities after the factor (SigLIP)."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Inner activations by name, (B, D) or (B, C, H, W) or (B, L, D)."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of the B rows of a micro-batch without any model."""

    size: int
    """B."""
    target: Tensor | None = None
    """int64 (B,) or (B, L), -100 where there is none; or probabilities (B, C)."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """bool (B,) or (B, L), by name: `response`, `vision`, `labelled`."""
    weight: Tensor | None = None
    """Importance of each row (B,) or token (B, L), at least 0."""
    group: Tensor | None = None
    """int64 (B,): rows of one group are never negatives of each other."""


@dataclass(frozen=True, slots=True)
class Batch:
    """All that a loss sees."""

    student: Output
    labels: Labels
    teachers: tuple[Output, ...] = ()
    progress: Progress = field(default_factory=Progress)
    comm: Comm = field(default_factory=Alone)

    @property
    def teacher(self) -> Output:
        """The one teacher. Raises ValueError where there is none or more than one."""
        if len(self.teachers) != 1:
            raise ValueError(f"this loss wants one teacher, there are {len(self.teachers)}; name it in the recipe")
        return self.teachers[0]


Weight = float | Schedule


class Loss(Settings):
    """Base of every loss's settings. A subclass adds `kind`, says :meth:`needs`, and gives :meth:`terms`."""

    kind: str
    name: str = ""
    """Under which its values are logged and its weight is searched; the kind if empty."""
    weight: Weight | dict[str, Weight] = 1.0
    """Factor in the total; by term where the loss has several. 0 leaves the term out, and what it needs."""
    log_only: bool = False
    """Compute and log it, but train on the others."""
    mask: str | None = None
    """Count only rows or tokens of this mask."""

    per: ClassVar[Literal["row", "token", "batch"]] = "row"
    """What the sum runs over. `batch`: a relation between rows, so that negatives do not grow with accumulation."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Names of the terms of a loss with several; they are logged as `name.part`."""
    logged: ClassVar[tuple[str, ...]] = ()
    """Names of further terms that are logged so and never trained."""

    @model_validator(mode="after")
    def _known_parts(self) -> Loss:
        if isinstance(self.weight, dict) and set(self.weight) != set(self.parts):
            has = ", ".join(self.parts) or "no parts: give one number"
            raise ValueError(f"the weight names {', '.join(self.weight)}, but {self.kind} has {has}")
        return self

    @property
    def title(self) -> str:
        """The name it goes by."""
        return self.name or self.kind

    def weights(self) -> dict[str, Weight]:
        """Weight of each term by its full name."""
        each = self.weight if isinstance(self.weight, dict) else dict.fromkeys(self.parts or ("",), self.weight)
        each = {part: each[part] for part in self.parts or ("",)} | dict.fromkeys(self.logged, 0.0)
        return {f"{self.title}.{part}" if part else self.title: weight for part, weight in each.items()}

    def needs(self) -> frozenset[str]:
        """What must be there, as paths: `student.logits`, `teacher.features.layer3`, `target`."""
        raise NotImplementedError

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum of each term over this micro-batch, a scalar with gradient; keys as :attr:`parts`, or ``""`` for one."""
        raise NotImplementedError

    def build(self, example: Batch) -> nn.Module:
        """A module whose ``forward(batch)`` gives :meth:`terms`. A loss with weights of its own (a projection, a queue)
        builds it with the sizes of ``example``.
        """
        from potstill.models.losses.stack import Stateless

        return Stateless(self)

    def valid(self, labels: Labels) -> Tensor:
        """Which rows (B,) or tokens (B, L) count."""
        marked, target = self.marked(labels), labels.target
        if target is None or target.is_floating_point():
            return marked
        real = target != IGNORED
        if "target" in self.needs():
            return (marked if marked.ndim == real.ndim else marked[:, None]) & real
        return real if self.per == "token" and self.mask is None else marked

    def marked(self, labels: Labels) -> Tensor:
        """The rows (B,) or tokens (B, L) of the mask, with or without a label; all rows if there is no mask."""
        import torch

        if self.mask is None:
            device = None if labels.target is None else labels.target.device
            return torch.ones(labels.size, dtype=torch.bool, device=device)
        if self.mask not in labels.masks:
            known = ", ".join(sorted(labels.masks)) or "none"
            raise ValueError(f"{self.title}: there is no mask {self.mask!r} (there are: {known})")
        return labels.masks[self.mask]

    def count(self, labels: Labels) -> float:
        """What the sum of this micro-batch is to be divided by: rows or tokens that count (their weights, where rows
        have some), 1 for a relation.
        """
        return 1.0 if self.per == "batch" else self.mass(labels)

    def mass(self, labels: Labels, valid: Tensor | None = None) -> float:
        """How many rows or tokens are ``valid``, those of :meth:`valid` if None; or the sum of their weights."""
        valid = self.valid(labels) if valid is None else valid
        return float(valid.sum() if labels.weight is None else self._weights(labels, valid).sum())

    def counts(self, labels: Labels) -> dict[str, float]:
        """The count of each term by its full name; a loss whose terms run over different things says it here."""
        return dict.fromkeys(self.weights(), self.count(labels))

    def total(self, values: Tensor, labels: Labels, valid: Tensor | None = None) -> Tensor:
        """Sum of ``values`` (N,), one for each ``valid`` row or token, times the weights of their rows."""
        if labels.weight is not None:
            values = values * self._weights(labels, self.valid(labels) if valid is None else valid).to(values)
        return values.sum()

    @staticmethod
    def _weights(labels: Labels, valid: Tensor) -> Tensor:
        assert labels.weight is not None
        if labels.weight.ndim > valid.ndim:
            raise ValueError("the data weighs single tokens, and this loss takes whole rows; leave the weights out")
        weight = labels.weight if labels.weight.ndim == valid.ndim else labels.weight[:, None].expand_as(valid)
        return weight[valid]
