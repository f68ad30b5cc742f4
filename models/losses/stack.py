"""A recipe's losses together: the weighted sum of their terms, each divided once by its global count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from potstill.models.losses.loss import Batch, Labels, Loss, Output
from potstill.models.losses.schedule import Progress, Schedule


class Stateless(nn.Module):
    """A loss without weights of its own."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """The loss's terms."""
        return self.loss.terms(batch)


@dataclass(frozen=True, slots=True)
class Total:
    """The weighted sum of a micro-batch, and each term as it was before its weight."""

    value: Tensor
    """Scalar with gradient."""
    sums: Mapping[str, Tensor]
    """Raw sums by full name, without gradient."""
    weights: Mapping[str, float]


class LossStack(nn.Module):
    """Losses with their own weights as one module, so that an optimiser, a checkpoint and a wrapper see all of it."""

    def __init__(self, losses: Sequence[Loss], example: Batch) -> None:
        super().__init__()
        names = [name for loss in losses for name in loss.weights()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two losses are called {', '.join(twice)}: give one of them a `name`")
        self.losses = tuple(loss for loss in losses if any(loss.weights().values()))  # a schedule is never nothing
        for loss in self.losses:
            check(loss, example)
        self.built = nn.ModuleDict({loss.title.replace(".", "_"): loss.build(example) for loss in self.losses})

    def counts(self, labels: Labels) -> dict[str, float]:
        """The count of each term over one micro-batch, by its full name; known before any model runs."""
        return {name: count for loss in self.losses for name, count in loss.counts(labels).items()}

    def forward(self, batch: Batch, counts: Mapping[str, float]) -> Total:
        """The sum of `weight * sum / count` over all terms; `counts` are those of all micro-batches and ranks of the
        optimiser's step. Multiply by the number of ranks where gradients are averaged over them.
        """
        value, sums, weights = torch.zeros((), device=_device(batch)), {}, {}
        batch = replace(batch, teachers=tuple(_detached(teacher) for teacher in batch.teachers))
        with torch.autocast(value.device.type, enabled=False):
            for loss in self.losses:
                now = {name: weight_at(weight, batch.progress) for name, weight in loss.weights().items()}
                if not any(now.values()):
                    continue
                with torch.set_grad_enabled(torch.is_grad_enabled() and not loss.log_only):
                    terms = self.built[loss.title.replace(".", "_")](batch)
                for part, term in terms.items():
                    name = f"{loss.title}.{part}" if part else loss.title
                    sums[name], weights[name] = term.detach(), 0.0 if loss.log_only else now[name]
                    if weights[name]:
                        value = value + weights[name] * term / max(counts[name], 1e-12)
        return Total(value, sums, weights)


def weight_at(weight: float | Schedule, progress: Progress) -> float:
    """The number that a weight is now."""
    return weight.at(progress) if isinstance(weight, Schedule) else weight


def check(loss: Loss, example: Batch) -> None:
    """Raise ValueError, naming the loss, when something that it needs is not there."""
    missing = sorted(need for need in loss.needs() if not _there(need, example))
    if missing:
        raise ValueError(f"the loss {loss.title!r} needs {', '.join(missing)}, which is not there")


def _there(need: str, example: Batch) -> bool:
    owner, _, rest = need.partition(".")
    if owner == "target":
        return example.labels.target is not None
    outputs = (example.student,) if owner == "student" else example.teachers
    name, _, feature = rest.partition(".")
    return bool(outputs) and all(
        feature in output.features if feature else getattr(output, name) is not None for output in outputs
    )


def _detached(output: Output) -> Output:
    def stop(x: object) -> object:
        return x.detach() if hasattr(x, "detach") else x

    return Output(
        logits=stop(output.logits), image=stop(output.image), text=stop(output.text), scale=stop(output.scale),
        bias=stop(output.bias), features={name: x.detach() for name, x in output.features.items()},
    )  # fmt: skip


def _device(batch: Batch) -> torch.device:
    student = batch.student
    for x in (student.logits, student.image, student.text, *student.features.values()):
        if x is not None:
            return x.device
    raise ValueError("the student says nothing: no logits, no embeddings, no features")
