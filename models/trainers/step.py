"""One step of the optimiser: micro-batches, ranks, precision, and the one division by global counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from potstill.config import RequestError
from potstill.models.losses.comm import Comm
from potstill.models.losses.diagnostics import diagnosis
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.schedule import Progress
from potstill.models.losses.stack import LossStack, Total
from potstill.models.trainers.settings import Compute, Optimizer
from potstill.models.trainers.task import Inputs, Task


class Learner(nn.Module):
    """Student and losses as one module, which DDP and FSDP wrap."""

    def __init__(self, task: Task, losses: LossStack, compute: Compute) -> None:
        super().__init__()
        self.student, self.losses = task.student, losses
        self._see, self.compute, self._needs = task.see, compute, needs_of(losses)

    def forward(
        self,
        inputs: Inputs,
        labels: Labels,
        teachers: tuple[Output, ...],
        counts: Mapping[str, float],
        progress: Progress,
        comm: Comm,
        log: bool,
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, float], dict[str, Tensor]]:
        """Value with gradient, raw sums and weights of a micro-batch; with ``log`` also its :func:`diagnosis`."""
        device = next(iter(inputs.values())).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.compute.precision == "bf16"):
            student = self._see(self.student, inputs, self._needs)
        batch = Batch(student, labels, teachers, progress, comm)
        total: Total = self.losses(batch, counts)
        return total.value, dict(total.sums), dict(total.weights), diagnosis(batch) if log else {}


def needs_of(losses: LossStack) -> frozenset[str]:
    """What all losses of a recipe need."""
    return frozenset().union(*(loss.needs() for loss in losses.losses))


def wrapped(learner: Learner, task: Task, compute: Compute, device: str) -> nn.Module:
    """The learner for several workers; itself for one process."""
    if not compute.workers:
        return learner
    if compute.strategy == "ddp":
        from torch.nn.parallel import DistributedDataParallel

        # A layer whose output nobody uses, or a loss whose weight is 0 for now, leaves parameters without a gradient.
        ids = [torch.device(device)] if device.startswith("cuda") else None
        return DistributedDataParallel(learner, device_ids=ids, find_unused_parameters=True)
    from torch.distributed.fsdp import fully_shard

    for block in task.blocks():
        fully_shard(block)
    return fully_shard(learner)


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """Inside, what FSDP has sharded outside the blocks is there, so that the student can be called by itself."""
    if not hasattr(model, "unshard"):
        yield
        return
    model.unshard()  # pyright: ignore
    try:
        yield
    finally:
        model.reshard()  # pyright: ignore


def make_optimizer(settings: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over all parameters that learn."""
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not learning:
        raise ValueError("no parameter of the student learns: all are frozen")
    unknown = [text for text in settings.lr_factors if not any(text in name for name in learning)]
    if unknown:
        some = ", ".join(list(learning)[:3])
        raise RequestError(
            f"optimizer.lr_factors: no parameter that learns has {unknown[0]!r} in its name ({some}, ...)"
        )
    each: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in learning.items():
        factor = next((x for text, x in settings.lr_factors.items() if text in name), 1.0)
        each.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": settings.weight_decay * decays, "initial_lr": settings.lr * factor}
        for (factor, decays), parameters in each.items()
    ]
    if settings.kind == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas)


class Stepper:
    """Makes steps: forward and backward of every micro-batch, one clip, one update."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        optimizer: torch.optim.Optimizer,
        clip: float | None,
        comm: Comm,
        device: str,
    ) -> None:
        self.model, self.task, self.optimizer, self.clip, self.comm = model, task, optimizer, clip, comm
        self.device = torch.device(device)
        self.learner: Learner = model.module if hasattr(model, "module") else model  # pyright: ignore
        self.needs = needs_of(self.learner.losses)

    def step(self, micro: Sequence[Inputs], progress: Progress, factor: float, log: bool) -> dict[str, float]:
        """One update from micro-batches on the CPU; ``factor`` scales the learning rate. Returns the gradient's norm,
        and with ``log`` also the losses and how far the teacher is, as means over all ranks.

        Where the gradient is not finite, no rank updates, and ``nan/skipped`` is 1.
        """
        counts = self._counts([self.task.labels(inputs) for inputs in micro])
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        weights: dict[str, float] = {}
        shown: dict[str, Tensor] = {}
        for number, waiting in enumerate(micro, 1):
            inputs = {name: x.to(self.device, non_blocking=True) for name, x in waiting.items()}
            known, teachers = self.task.labels(inputs), self._teach(inputs)
            with self._synced(number == len(micro)):
                value, terms, weights, told = self.model(inputs, known, teachers, counts, progress, self.comm, log)
                if value.requires_grad:
                    (value * self.comm.world).backward()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term
            for name, both in told.items():
                shown[name] = shown.get(name, 0.0) + both
        norm = self._norm()
        if math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            self.optimizer.step()
        entry = {"grad/norm": norm, "lr": max(group["lr"] for group in self.optimizer.param_groups)}
        entry["nan/skipped"] = float(not math.isfinite(norm))
        if not (log or entry["nan/skipped"]):
            return entry
        return entry | self._means(sums, weights, counts) | self._shown(shown)

    def _counts(self, labels: Sequence[Labels]) -> dict[str, float]:
        """Counts of each loss over all micro-batches of all ranks."""
        mine = [self.learner.losses.counts(each) for each in labels]
        sums = torch.tensor([sum(each[name] for each in mine) for name in mine[0]], dtype=torch.float64)
        if self.comm.world > 1:
            sums = self.comm.sum(sums.to(self.device))
        return dict(zip(mine[0], sums.tolist(), strict=True))

    def _teach(self, inputs: Inputs) -> tuple[Output, ...]:
        bf16 = self.learner.compute.precision == "bf16"
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.task.teach(inputs, self.needs)

    def _synced(self, last: bool) -> Any:
        """Gradients are averaged over ranks with the last micro-batch only."""
        if hasattr(self.model, "set_requires_gradient_sync"):
            self.model.set_requires_gradient_sync(last)  # pyright: ignore
            return nullcontext()
        return nullcontext() if last or not hasattr(self.model, "no_sync") else self.model.no_sync()  # pyright: ignore

    def _norm(self) -> float:
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.clip or math.inf)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # pyright: ignore

    def _shown(self, shown: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean of each number of the diagnosis over all ranks."""
        if not shown:
            return {}
        together = self.comm.sum(torch.stack(list(shown.values()))).tolist()
        return {f"kd/{name}": total / max(count, 1) for name, (total, count) in zip(shown, together, strict=True)}

    def _means(
        self, sums: Mapping[str, Tensor], weights: Mapping[str, float], counts: Mapping[str, float]
    ) -> dict[str, float]:
        """Mean of each term over all ranks, and the weighted total."""
        means = {}
        if sums:
            together = self.comm.sum(torch.stack([x.double() for x in sums.values()])).tolist()
            means = {name: x / max(counts[name], 1e-12) for name, x in zip(sums, together, strict=True)}
        total = sum(weights[name] * mean for name, mean in means.items())
        return (
            {f"loss/{name}": mean for name, mean in means.items()}
            | {f"weight/{name}": weight for name, weight in weights.items()}
            | {"loss/total": total}
        )
