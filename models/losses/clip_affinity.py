"""Distillation of similarities between pictures and texts: TinyCLIP, open_clip's distillation, MobileCLIP."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from potstill.models.losses.loss import Batch
from potstill.models.losses.numerics import kl_of_logs, log_probs
from potstill.models.losses.pairs import Pairs, Rows

if TYPE_CHECKING:
    from torch import Tensor

Scale = Annotated[float, Field(gt=0)]


def clip_affinity(student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
    """KL(teachers || student) in nats of similarities (n, m) as logits over the columns, per row (n,).

    Teachers are averaged **after** their softmax (MobileCLIP, arXiv 2311.17049). The published losses are
    the cross-entropy with the same targets: the same gradient, a value that is larger by the teachers' entropy. No T^2.
    """
    import torch

    logs = torch.stack([log_probs(teacher.detach()) for teacher in teachers])
    return kl_of_logs(log_probs(student), logs.logsumexp(0) - math.log(len(teachers)))


class ClipAffinity(Pairs):
    """Affinity mimicking (TinyCLIP, arXiv 2309.12314), half for each direction, mean over rows.

    As it is, open_clip's distillation term; TinyCLIP's scripts fix both factors at 50; MobileCLIP has two teachers
    with 70 and 60 (MobileCLIP2) or 100, and a second such loss over `second: <synthetic captions>`.
    """

    kind: Literal["clip_affinity"] = "clip_affinity"
    scale: Scale | None = None
    """Fixed factor of the student's similarities; its own if left out."""
    teacher_scale: Scale | tuple[Scale, ...] | None = None
    """Fixed factor of the teachers' similarities, one for all or one for each; their own if left out."""

    def needs(self) -> frozenset[str]:
        """Two embeddings (B, D) of the student and of each teacher, of any width; factors that are not fixed."""
        teacher = self.paths("teacher", scaled=self.teacher_scale is None)
        return self.paths("student", scaled=self.scale is None) | teacher

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Own part of the mean over rows."""
        first, second = self.both(batch.student)
        rows = Rows(self, batch, first.device)
        student = rows.both_ways(first, second, batch.student.scale if self.scale is None else self.scale)
        teachers = [
            rows.both_ways(*(x.detach() for x in self.both(teacher)), scale)
            for teacher, scale in zip(batch.teachers, self._scales(batch), strict=True)
        ]
        there, back = (clip_affinity(student[way], [teacher[way] for teacher in teachers]) for way in (0, 1))
        return {"": rows.mean(there + back) / 2}

    def _scales(self, batch: Batch) -> Sequence[Tensor | float]:
        fixed, count = self.teacher_scale, len(batch.teachers)
        if isinstance(fixed, tuple) and len(fixed) != count:
            raise ValueError(f"{self.title}: {len(fixed)} values of teacher_scale for {count} teachers")
        own = [teacher.scale for teacher in batch.teachers]
        return own if fixed is None else fixed if isinstance(fixed, tuple) else [fixed] * count  # pyright: ignore[reportReturnType]
