"""Functions of rows of logits that are never all there: the head is applied to a chunk, used, and forgotten.

Value and gradient of a chunk are computed together, so that its logits are made once; a gradient that comes from above
is multiplied in backwards. After the idea of Liger Kernel's fused linear losses (Hsu et al. 2024, arXiv 2410.10989).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from potstill.models.losses.logits import Hidden, TopK

Rows = Callable[..., Tensor]
"""(logits (n, V), what else the rows need) -> values (n,), each row for itself."""


class Task(NamedTuple):
    """What a function does beside the tensors that learn."""

    rows: Rows
    others: Sequence[Tensor | Hidden | TopK]
    chunk: int
    needs: tuple[bool, bool, bool]
    """Whether the hidden states, the weight, the bias want a gradient."""


class Gradients:
    """Gradients of hidden states, weight and bias, filled chunk by chunk; the latter two summed in float32 at least."""

    def __init__(self, h: Tensor, weight: Tensor, bias: Tensor | None, needs: Sequence[bool]) -> None:
        def sums(x: Tensor) -> Tensor:
            return torch.zeros(x.shape, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)

        self.of_h = torch.empty_like(h) if needs[0] else None
        self.of_weight = sums(weight) if needs[1] else None
        self.of_bias = sums(bias) if needs[2] and bias is not None else None

    def add(self, part: slice, dz: Tensor, h: Tensor, weight: Tensor) -> None:
        """The part of a chunk, from the gradient (n, V) of its logits."""
        if self.of_h is not None:
            torch.mm(dz, weight, out=self.of_h[part])
        if self.of_weight is not None and dz.dtype == self.of_weight.dtype:
            self.of_weight.addmm_(dz.T, h)
        elif self.of_weight is not None:
            self.of_weight += dz.T @ h
        if self.of_bias is not None:
            self.of_bias += dz.sum(0, dtype=self.of_bias.dtype)

    def all(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The three."""
        return self.of_h, self.of_weight, self.of_bias


def chunks(
    h: Tensor, weight: Tensor, bias: Tensor | None, task: Task, factors: Tensor
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Values (N,) and the gradients of sum(factors * values)."""
    gradients, train = Gradients(h, weight, bias, task.needs), any(task.needs)

    def one(part: slice) -> Tensor:
        z = linear(h[part], weight, bias).requires_grad_(train)
        with torch.set_grad_enabled(train):
            values = task.rows(z, *(each[part] for each in task.others))
        if train:
            (dz,) = torch.autograd.grad(values, z, factors[part].to(values))
            gradients.add(part, dz, h[part], weight)
        return values.detach()

    values = [one(slice(start, start + task.chunk)) for start in range(0, len(h), task.chunk)]
    return torch.cat(values) if values else factors.new_zeros(0), gradients.all()


def scaled(gradients: Sequence[Tensor | None], factor: Tensor, like: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients times a scalar, each in the type of what it belongs to."""
    return [None if x is None or y is None else (x * factor.to(x)).to(y) for x, y in zip(gradients, like, strict=True)]


class LinearSum(torch.autograd.Function):
    """sum(factors * rows(h @ weight.T + bias)), a scalar; one pass, the gradient of the weight waits for backward."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor | None, task: Task, factors: Tensor) -> Tensor:
        """Value; the gradients are kept."""
        values, gradients = chunks(h, weight, bias, task, factors)
        ctx.types = [None if x is None else x.new_empty(0) for x in (h, weight, bias)]
        ctx.save_for_backward(*gradients)
        return (values * factors.to(values)).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients times the one from above."""
        return *scaled(ctx.saved_tensors, above, ctx.types), None, None


class LinearRows(torch.autograd.Function):
    """rows(h @ weight.T + bias), values (N,); for functions of several rows together. The logits are made twice."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor | None, task: Task) -> Tensor:
        """Values alone."""
        ctx.save_for_backward(h, weight, bias)
        ctx.task = task
        return chunks(h, weight, bias, task._replace(needs=(False, False, False)), wide_ones(h))[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        """Each row's gradient times its own from above."""
        kept = ctx.saved_tensors
        _, gradients = chunks(*kept, ctx.task, above)
        return *scaled(gradients, above.new_ones(()), kept), None


def prepared(
    rows: Rows, hidden: Hidden, others: Sequence[Tensor | Hidden | TopK], chunk: int
) -> tuple[Tensor, Tensor, Tensor | None, Task]:
    """What the functions are applied to: all in the type of the hidden states, as under autocast."""
    hidden = typed(hidden)
    learning = [torch.is_grad_enabled() and x is not None and x.requires_grad for x in parts(hidden)]
    fixed = [typed(each.detach()) if isinstance(each, Hidden) else each.detach() for each in others]
    return *parts(hidden), Task(rows, fixed, chunk, (learning[0], learning[1], learning[2]))


def typed(hidden: Hidden) -> Hidden:
    """The head in the type of the hidden states, once."""
    like, bias = hidden.h.dtype, hidden.bias
    return Hidden(hidden.h, hidden.weight.to(like), None if bias is None else bias.to(like))


def parts(hidden: Hidden) -> tuple[Tensor, Tensor, Tensor | None]:
    """Its three tensors."""
    return hidden.h, hidden.weight, hidden.bias


def wide_ones(h: Tensor) -> Tensor:
    """Ones (N,) in float32 at least."""
    return torch.ones(len(h), dtype=torch.promote_types(h.dtype, torch.float32), device=h.device)
