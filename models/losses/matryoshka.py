"""Matryoshka: the first dimensions alone are an embedding too (Kusupati et al. 2022, arXiv 2205.13147)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from potstill.models.losses.loss import Batch, Labels, Loss, Weight

if TYPE_CHECKING:
    from torch import Tensor, nn

    from potstill.models.losses.registry import AnyLoss  # it names this class too, and completes it


class Matryoshka(Loss):
    """Another loss on the first dimensions of the student, summed over widths, not averaged (equation 1): mind the
    learning rate. Embeddings are cut and made of length 1 again. Logits must be a head that is yet to be applied
    (`Hidden`), which is cut with its inputs: all widths share one matrix (MRL-E). Ranks and means are the inner loss's
    affair; its weight and mask hold at each width, and its terms are called `w64`, or `w64.part`.
    """

    kind: Literal["matryoshka"] = "matryoshka"
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Multiplies the inner loss's own at all widths."""
    inner: AnyLoss
    """A loss of the student's embeddings or logits."""
    widths: tuple[PositiveInt, ...] = Field(min_length=1)
    """Numbers of dimensions; in the paper 8, 16, 32 and so on up to all of them."""
    importance: tuple[float, ...] = ()
    """Weight of each width; 1 if left out, as in the paper."""
    cut_teacher: bool = False
    """Cut the teacher's embeddings too, for an inner loss that multiplies them with the student's."""

    @model_validator(mode="after")
    def _fits(self) -> Matryoshka:
        if self.inner.kind == self.kind or self.inner.log_only or self.mask is not None:
            raise ValueError(
                "matryoshka has no other inside; a mask belongs to the inner loss, log_only to the outer one"
            )
        if len(set(self.widths)) < len(self.widths) or len(self.importance) not in (0, len(self.widths)):
            raise ValueError(f"matryoshka: a width twice in {self.widths}, or not as many as {self.importance}")
        return self

    @property
    def per(self) -> Literal["row", "token", "batch"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the inner loss."""
        return self.inner.per

    @property
    def parts(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Each width, and each part of the inner loss at it."""
        return tuple(f"w{width}.{part}".rstrip(".") for width in self.widths for part in self.inner.parts or ("",))

    def weights(self) -> dict[str, Weight]:
        """The inner loss's, times the importance of the width."""
        shares = self.importance or (1.0,) * len(self.widths)
        each = [weight * (self.weight * share) for share in shares for weight in self.inner.weights().values()]
        return {f"{self.title}.{part}": weight for part, weight in zip(self.parts, each, strict=True)}

    def needs(self) -> frozenset[str]:
        """What the inner loss needs."""
        return self.inner.needs()

    def valid(self, labels: Labels) -> Tensor:
        """As the inner loss."""
        return self.inner.valid(labels)

    def counts(self, labels: Labels) -> dict[str, float]:
        """The inner loss's, at each width."""
        each = [count for _ in self.widths for count in self.inner.counts(labels).values()]
        return {f"{self.title}.{part}": count for part, count in zip(self.parts, each, strict=True)}

    def build(self, example: Batch) -> nn.Module:
        """The inner loss's module for each width."""
        from potstill.models.losses.modules.matryoshka import Nested

        return Nested(self, example)
