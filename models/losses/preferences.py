"""What losses on pairs of answers share. The first half of a micro-batch is chosen, the second half rejected: row i and
row B/2 + i answer the same question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.chunked import check_vocabulary, each_row
from potstill.models.losses.cross_entropy import cross_entropy
from potstill.models.losses.loss import Batch, Labels, Loss

if TYPE_CHECKING:
    from torch import Tensor

    from potstill.models.losses.logits import Hidden


def answer_log_probs(logits: Tensor | Hidden, target: Tensor, valid: Tensor) -> Tensor:
    """Sum of the log-probabilities of the valid (B, L) words of each row, in nats (B,): of the answer as a whole."""
    words = -each_row(cross_entropy, logits[valid], target[valid])
    return words.new_zeros(len(valid)).index_add(0, valid.nonzero()[:, 0], words)


class Preference(Loss):
    """Base of losses on (chosen, rejected) answers. Pairs of which one has no word do not count.

    A micro-batch has an even number of rows; weights of pairs are those of the chosen rows.
    """

    beta: float = Field(0.1, gt=0)
    """How far the student may go from the reference: the smaller, the farther."""
    reference: Literal["teacher", "stored"] = "teacher"
    """Whose log-probabilities are the zero: of a teacher's logits, or stored ones, its feature `log_probs` (B,)."""

    per: ClassVar = "batch"

    def needs(self) -> frozenset[str]:
        """Logits (B, L, V) of the student, words (B, L), and the reference."""
        reference = "teacher.logits" if self.reference == "teacher" else "teacher.features.log_probs"
        return frozenset({"student.logits", "target", reference})

    def pairs(self, labels: Labels) -> Tensor:
        """Which pairs (B/2,) count."""
        if labels.size % 2:
            raise ValueError(
                f"{self.title}: {labels.size} rows are no pairs; the first half is chosen, the second rejected"
            )
        chosen, rejected = self.valid(labels).any(-1).chunk(2)
        return chosen & rejected

    def count(self, labels: Labels) -> float:
        """Pairs."""
        return float(self.pair_weights(labels).sum())

    def pair_weights(self, labels: Labels) -> Tensor:
        """Weight of each pair (B/2,), 0 for one that does not count."""
        pairs = self.pairs(labels)
        return pairs.float() if labels.weight is None else labels.weight[: len(pairs)] * pairs

    def ratios(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log of student over reference for chosen and rejected answers, in nats (B/2,) each."""
        labels, student = batch.labels, batch.student.logits
        valid, target = self.valid(labels), labels.target
        assert target is not None
        own = answer_log_probs(student, target, valid)
        if self.reference == "stored":
            other = batch.teacher.features["log_probs"].to(own)
        else:
            check_vocabulary(self.title, student, batch.teacher.logits)
            other = answer_log_probs(batch.teacher.logits.detach(), target, valid)
        chosen, rejected = (own - other.detach().flatten()).chunk(2)
        return chosen, rejected
