"""Distillation of a language model on its logits, with any divergence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses import divergences
from potstill.models.losses.chunked import check_vocabulary, dense, summed
from potstill.models.losses.logits import Hidden, TopK
from potstill.models.losses.loss import Batch, Loss
from potstill.models.losses.numerics import log_probs

if TYPE_CHECKING:
    from torch import Tensor


Divergence = Literal["forward", "reverse", "jsd", "skewed_forward", "skewed_reverse", "adaptive", "tvd"]


class TokenKl(Loss):
    """A divergence between teacher and student over the words of each token; of answers unless a mask says otherwise.

    `forward` learns all that the teacher says, `reverse` its surest part, which suits answers of the student itself.
    """

    kind: Literal["token_kl"] = "token_kl"
    divergence: Divergence = "forward"
    temperature: float = Field(1.0, gt=0)
    t_squared: bool = False
    """Times the temperature squared; the sources of language models do not."""
    teacher_mix: float = Field(0.5, gt=0, lt=1)
    """jsd: the teacher's share of the mixture, which is TRL's `beta`, and 1 - `beta` of KDFlow."""
    skew: float = Field(0.1, gt=0, lt=1)
    """skewed: the share, in the mixture on the right, of the distribution on the left (DistiLLM: 0.1)."""
    mu: float = Field(0.5, gt=0, lt=1)
    """adaptive: the teacher's mass that is tail (AKL: 0.5)."""

    per: ClassVar = "token"

    def needs(self) -> frozenset[str]:
        """Logits (B, L, V) of both; words (B, L) unless a mask says which tokens."""
        return frozenset({"student.logits", "teacher.logits"} | ({"target"} if self.mask is None else set()))

    def rows(self, student: Tensor, teacher: Tensor | Hidden) -> Tensor:
        """The divergence of logits (N, V), per row (N,)."""
        t, of = self.temperature, self.divergence
        function = {
            "forward": divergences.forward_kl,
            "reverse": divergences.reverse_kl,
            "jsd": partial(divergences.jsd, teacher_mix=self.teacher_mix),
            "skewed_forward": partial(divergences.skewed_forward, skew=self.skew),
            "skewed_reverse": partial(divergences.skewed_reverse, skew=self.skew),
            "adaptive": partial(divergences.adaptive_kl, mu=self.mu),
            "tvd": divergences.tvd,
        }[of]
        values = function(log_probs(student, t), log_probs(dense(teacher.detach()), t))
        return values * t**2 if self.t_squared else values

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Sum over tokens."""
        student, teacher = batch.student.logits, batch.teacher.logits
        check_vocabulary(self.title, student, teacher)
        if isinstance(teacher, TopK):
            raise ValueError(f"{self.title}: the teacher's best {teacher.idx.shape[-1]} classes are for topk_kl")
        return {"": summed(self, batch.labels, self.rows, student, teacher)}
