"""Contrastive and relational representation distillation against a queue of the teacher's embeddings.

Contrast between student and teacher: CRD (Tian et al. 2020, arXiv 1910.10699). With a queue instead of banks over the
whole data set, and with distributions over it: SEED (Fang et al. 2021, arXiv 2101.04731), RRD (Giakoumoglou & Stathaki
2024, arXiv 2407.12073). So no index of rows and no number of rows is needed, and data may stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from potstill.models.losses.features import Between
from potstill.models.losses.loss import Batch, Weight
from potstill.models.losses.numerics import kl_of_logs, log_probs

if TYPE_CHECKING:
    from torch import Tensor, nn


def relational(student: Tensor, teacher: Tensor, *, student_temperature: float, teacher_temperature: float) -> Tensor:
    """KL(teacher || student) in nats of two similarities to the same m columns (n, m), per row (n,) (RRD, section 3).

    The published loss is the cross-entropy, with the same gradient. Not times a squared temperature.
    """
    return kl_of_logs(log_probs(student, student_temperature), log_probs(teacher.detach(), teacher_temperature))


class Crd(Between):
    """A row's student embedding, by its similarities to the teacher's embeddings of this batch and of the queue.

    `relational`: these are distributed as those of the teacher's own embedding. `contrast`: the row's own teacher
    embedding is told from the others (InfoNCE); rows of its group are no negatives. Both activations are flattened and
    projected to one width and length 1. Both projections are trained, the teacher's through `contrast` alone; where
    that has weight 0 it stays the random projection that it was. The batch is that of all ranks, and the queue is equal
    on all ranks; each rank computes its own rows, and the mean over ranks is the mean over all rows.
    """

    kind: Literal["crd"] = "crd"
    weight: Weight | dict[str, Weight] = Field(default={"relational": 1.0, "contrast": 0.8})
    width: int = Field(128, ge=1)
    """Of the projections."""
    queue: int = Field(16384, ge=0)
    """Rows of earlier micro-batches that are kept, of all ranks; it starts empty and changes while training alone."""
    student_temperature: float = Field(0.02, gt=0)
    teacher_temperature: float = Field(0.1, gt=0)
    """RRD sharpens the student more than the teacher; SEED the other way (0.2 and 0.01)."""
    contrast_temperature: float = Field(0.07, gt=0)
    per: ClassVar[Literal["row", "token", "batch"]] = "batch"
    parts: ClassVar[tuple[str, ...]] = ("relational", "contrast")

    def build(self, example: Batch) -> nn.Module:
        """The projections and the queue."""
        from potstill.models.losses.modules.crd import QueueContrast

        return QueueContrast(self, example)
