"""What losses compute with: at least float32, in log space."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""A target that is none."""


def wide(x: Tensor) -> Tensor:
    """The same numbers in float32, or float64 where they are. A softmax over 150,000 entries in bfloat16 gives negative
    divergences; the same logits made float32 first do not. Raises ValueError for what only stands for logits.
    """
    if not hasattr(x, "itemsize"):
        raise ValueError(f"this loss wants all logits, and these are {type(x).__name__}; topk_kl takes best classes")
    return x.double() if x.itemsize == 8 else x.float()


def log_probs(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of logits (..., C) at a temperature, in nats."""
    logits = wide(logits)
    return (logits if temperature == 1 else logits / temperature).log_softmax(-1)


def kl_rows(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) in nats of logits (..., C), per row (...,). The teacher gets no gradient.

    A class that the teacher rules out (-inf) adds 0, and not NaN.
    """
    return kl_of_logs(log_probs(student, temperature), log_probs(teacher.detach(), temperature))


def kl_of_logs(other: Tensor, first: Tensor) -> Tensor:
    """KL(first || other) in nats of log-probabilities (..., C), per row (...,); where `first` is -inf it adds 0."""
    from potstill.models.losses.modules.kl_of_logs import KlOfLogs

    return KlOfLogs.apply(other, first)  # pyright: ignore[reportReturnType]


def unit(x: Tensor) -> Tensor:
    """Rows (..., D) of length 1; a row of zeros (shorter than 1e-12) becomes zeros and gets no gradient."""
    x = wide(x)
    length = x.norm(dim=-1, keepdim=True)
    return x / length.masked_fill(length < 1e-12, float("inf"))
