"""Divergences between two distributions of log-probabilities (..., C), in nats, per row (...,).

The teacher's log-probabilities may hold -inf (a class that is masked out, or a padded vocabulary): no value or gradient
is NaN. No temperature stands here, so none of them is multiplied by its square.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from potstill.models.losses.numerics import kl_of_logs

if TYPE_CHECKING:
    from torch import Tensor

LEAST = -87.0
"""A teacher's log-probability below this counts as this where the student weighs the classes: about the log of the
least normal float32. Leaving such classes out instead rewards a student that goes there: the sum becomes negative."""


def forward_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(t || s): covers all that the teacher does (Hinton et al. 2015, arXiv 1503.02531)."""
    return kl_of_logs(student, teacher)


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(s || t): seeks the teacher's modes (MiniLLM, Gu et al. 2023, arXiv 2306.08543, equation 1)."""
    return kl_of_logs(teacher.clamp(min=LEAST), student)


def jsd(student: Tensor, teacher: Tensor, *, teacher_mix: float = 0.5) -> Tensor:
    """m KL(t || M) + (1 - m) KL(s || M), M = m t + (1 - m) s (GKD, Agarwal et al. 2023, arXiv 2306.13649, section 2).

    ``teacher_mix`` m is the teacher's share, in (0, 1): `beta` of TRL and Liger, 1 - `beta` of KDFlow. The formula goes
    to 0 at both ends; where TRL is told 0 or 1 it computes the forward or the reverse divergence instead.
    """
    mean = mixture(student, teacher, teacher_mix)
    return teacher_mix * kl_of_logs(mean, teacher) + (1 - teacher_mix) * kl_of_logs(mean, student)


def skewed_forward(student: Tensor, teacher: Tensor, *, skew: float = 0.1) -> Tensor:
    """KL(t || skew t + (1 - skew) s), at most -log(skew) (DistiLLM, Ko et al. 2024, arXiv 2402.03898, section 3.1)."""
    return kl_of_logs(mixture(student, teacher, skew), teacher)


def skewed_reverse(student: Tensor, teacher: Tensor, *, skew: float = 0.1) -> Tensor:
    """KL(s || skew s + (1 - skew) t), at most -log(skew) (DistiLLM, section 3.1)."""
    return kl_of_logs(mixture(student, teacher, 1 - skew), student)


def adaptive_kl(student: Tensor, teacher: Tensor, *, mu: float = 0.5) -> Tensor:
    """Forward and reverse, weighted by where they are far apart (AKL, Wu et al. 2024, arXiv 2404.02657).

    The tail is the teacher's least likely classes that together have at most ``mu``, the head is the rest; the share of
    the forward divergence is the head's part of sum |t - s|, without gradient.
    """
    order = teacher.argsort(dim=-1)
    far = (teacher.exp() - student.detach().exp()).abs().gather(-1, order)
    head = (far * (teacher.gather(-1, order).exp().cumsum(-1) > mu)).sum(-1)
    share = head / far.sum(-1).clamp(min=1e-12)
    return share * forward_kl(student, teacher) + (1 - share) * reverse_kl(student, teacher)


def tvd(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the sum of |t - s|, in [0, 1], no nats (f-distill, Wen et al. 2023, arXiv 2307.15190)."""
    return (teacher.exp() - student.exp()).abs().sum(-1) / 2


def mixture(student: Tensor, teacher: Tensor, teacher_share: float) -> Tensor:
    """Log of the mixture; where both rule a class out a finite number, as logaddexp of two -inf has no gradient."""
    teacher = teacher.clamp(min=-1e5)
    return (teacher + math.log(teacher_share)).logaddexp(student + math.log1p(-teacher_share))
