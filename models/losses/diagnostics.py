"""How far a student is from its teacher: numbers for the log that mean the same whatever the losses and their weights.

Entropies tell a teacher that says nothing new from one that does; the divergence is that at temperature 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from potstill.models.losses.chunked import dense
from potstill.models.losses.logits import Hidden, TopK, vocabulary
from potstill.models.losses.numerics import IGNORED

if TYPE_CHECKING:
    from torch import Tensor

    from potstill.models.losses.loss import Batch

NUMBERS = 1 << 24
"""Logits that are there at a time."""


def diagnosis(batch: Batch) -> dict[str, Tensor]:
    """Sum and count, float64 (2,), of each number over the rows or the tokens that have a target, without gradient.

    ``teacher_entropy`` and ``student_entropy`` in nats; ``agree@1``, where both find the same class the likeliest;
    ``kl_T1``, KL(teacher || student) in nats. Of stored best classes ``agree@1`` and ``topk_mass``, the probability
    that was stored. Empty without logits of a student and of one teacher over the same classes.
    """
    import torch

    student = batch.student.logits
    said = [each.logits for each in batch.teachers if each.logits is not None]
    if student is None or len(said) != 1 or vocabulary(student) != vocabulary(said[0]):
        return {}
    with torch.no_grad():
        target = batch.labels.target
        rows = student.h if isinstance(student, Hidden) else student
        valid = torch.ones(rows.shape[:-1], dtype=torch.bool, device=rows.device)
        if target is not None and target.ndim == valid.ndim > 1:
            valid = target != IGNORED
        student, teacher = student[valid], said[0][valid]
        size, count = max(1, NUMBERS // vocabulary(student)), int(valid.sum())
        totals: dict[str, Tensor] = {}
        for start in range(0, max(count, 1), size):
            part = slice(start, start + size)
            for name, values in _numbers(dense(student[part]), dense(teacher[part])):
                totals[name] = totals.get(name, 0.0) + values.double().sum()
        return {name: torch.stack([total, total.new_tensor(count)]) for name, total in totals.items()}


def _numbers(student: Tensor, teacher: Tensor | TopK) -> Iterator[tuple[str, Tensor]]:
    """Each number of rows (N,), from logits (N, C)."""
    from torch import special

    own = student.float().log_softmax(-1)
    if isinstance(teacher, TopK):
        best = teacher.idx.gather(-1, teacher.logp.argmax(-1, keepdim=True))[..., 0]
        yield "agree@1", own.argmax(-1) == best
        yield "topk_mass", teacher.logp.float().exp().sum(-1)
        return
    other = teacher.float().log_softmax(-1)
    p = other.exp()
    yield "teacher_entropy", special.entr(p).sum(-1)
    yield "student_entropy", special.entr(own.exp()).sum(-1)
    yield "agree@1", own.argmax(-1) == other.argmax(-1)
    yield "kl_T1", (p * (other - own)).where(p > 0, 0.0).sum(-1)
