"""Any function of rows over dense logits or over a head that is applied in chunks; the same numbers either way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from potstill.models.losses.logits import Hidden, TopK, vocabulary

if TYPE_CHECKING:
    from torch import Tensor

    from potstill.models.losses.loss import Labels, Loss

    Logits = Tensor | Hidden | TopK
    Rows = Callable[..., Tensor]


def summed(
    loss: Loss, labels: Labels, rows: Rows, student: Logits, *others: Logits, valid: Tensor | None = None
) -> Tensor:
    """Sum over what counts of ``rows(student (N, C), *others (N, ...)) -> (N,)``, weighted as :meth:`Loss.total` does.

    What does not count is left out before anything is computed. ``rows`` makes a teacher's :func:`dense` itself.
    """
    valid = loss.valid(labels) if valid is None else valid
    student, others = student[valid], tuple(other[valid] for other in others)
    if not isinstance(student, Hidden):
        return loss.total(rows(student, *others), labels, valid)
    weight = None if labels.weight is None else loss._weights(labels, valid)
    return linear_sum(rows, student, *others, weight=weight)


def linear_sum(
    rows: Rows, student: Hidden, *others: Logits, weight: Tensor | None = None, chunk: int | None = None
) -> Tensor:
    """Sum of ``weight * rows(logits, *others)`` over hidden states (N, H), with exact gradient; at least float32.

    Beside the head's gradient (V, H) the memory is that of ``chunk`` rows, :func:`chunk_rows` if None.
    """
    from potstill.models.losses.modules.linear_rows import LinearSum, prepared, wide_ones

    factors = wide_ones(student.h) if weight is None else wide_ones(student.h) * weight.to(student.device)
    return LinearSum.apply(*prepared(rows, student, others, chunk or chunk_rows(student)), factors)  # pyright: ignore


def each_row(rows: Rows, student: Logits, *others: Logits, chunk: int | None = None) -> Tensor:
    """``rows(student (N, C), *others)`` (N,), for losses that need rows together. A head is applied twice to each."""
    if not isinstance(student, Hidden):
        return rows(student, *others)
    from potstill.models.losses.modules.linear_rows import LinearRows, prepared

    return LinearRows.apply(*prepared(rows, student, others, chunk or chunk_rows(student)))  # pyright: ignore


def dense(logits: Logits) -> Tensor | TopK:
    """Logits that are there."""
    return logits.dense() if isinstance(logits, Hidden) else logits


def chunk_rows(hidden: Hidden) -> int:
    """Rows of a chunk: at about 24 bytes a logit they take what the head's float32 gradient takes, and a tensor of them
    at least 32 MiB. The C library's allocator gives blocks of that size back; smaller ones cost three times their sum.
    """
    words, width = hidden.weight.shape
    return max(-(-(2**23) // words), width // 6)


def check_vocabulary(title: str, student: Logits, teacher: Logits) -> None:
    """Raise ValueError, with both numbers, where student and teacher have not the same classes."""
    own, other = vocabulary(student), vocabulary(teacher)
    if own != other:
        raise ValueError(
            f"{title}: the student has {own} classes, the teacher {other}. One tokenizer may be padded to several "
            "sizes: cut both heads to its own"
        )
