"""What one kind of model does with a micro-batch. The loop knows no more of it than this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from potstill.models.losses.loss import Labels, Output

Inputs = Mapping[str, Tensor]


class Task(ABC):
    """A student, maybe teachers, and how rows become what losses see."""

    student: nn.Module
    """What is trained; parameters that stay as they are have ``requires_grad`` off."""

    @abstractmethod
    def collate(self, rows: pa.Table) -> dict[str, Tensor]:
        """Prepared rows as tensors on the CPU, padded to the longest."""

    @abstractmethod
    def labels(self, inputs: Inputs) -> Labels:
        """What is known without a model."""

    @abstractmethod
    def see(self, student: nn.Module, inputs: Inputs, needs: frozenset[str]) -> Output:
        """The student on a micro-batch. ``needs`` are those of all losses, for what is costly to give."""

    def teach(self, inputs: Inputs, needs: frozenset[str]) -> tuple[Output, ...]:
        """The teachers on a micro-batch, or what is stored of them; without gradient."""
        return ()

    def to(self, device: str) -> None:
        """Move all models."""
        self.student.to(device)

    def blocks(self) -> Sequence[nn.Module]:
        """Parts of the student that FSDP shards by themselves: its layers."""
        return ()

    def begin_evaluation(self, student: nn.Module) -> None:
        """What is the same for all rows of an evaluation, such as vectors of classes; every rank does it."""
        return

    def evaluate(self, student: nn.Module, inputs: Inputs) -> dict[str, np.ndarray]:
        """What :meth:`score` needs of each row of a micro-batch; arrays with a row each."""
        raise NotImplementedError

    def score(self, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Metrics from what :meth:`evaluate` gave for all validation rows."""
        raise NotImplementedError

    @abstractmethod
    def export(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write the student as safetensors and JSON; ``weights`` is its state dict, whole, on the CPU."""
