"""Rows through the student as it is, every row once, whatever the number of workers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from potstill.models.losses.comm import Comm
from potstill.models.trainers.order import Order
from potstill.models.trainers.parquet import groups
from potstill.models.trainers.recipe import Recipe
from potstill.models.trainers.settings import Rows
from potstill.models.trainers.task import Task

CHUNK = 512
"""Rows that are read at a time."""


class Evaluation:
    """Reads the rows anew each time, in the order of the files."""

    def __init__(self, recipe: Recipe, rows: Rows, task: Task, comm: Comm, device: str) -> None:
        self.recipe, self.task, self.comm, self.device = recipe, task, comm, device
        self.groups = groups(rows, recipe.validation_columns())
        self.rows = sum(self.groups.sizes)

    def run(self, student: nn.Module) -> dict[str, float]:
        """Metrics of the student, the same on every rank."""
        return self.task.score(self.answers(student))

    def answers(self, student: nn.Module) -> dict[str, np.ndarray]:
        """What the task says of each row, in the order of the files, the same on every rank."""
        was_training = student.training
        student.eval()
        with torch.no_grad():
            self.task.begin_evaluation(student)
            mine = self._answers(student)
        student.train(was_training)
        return self._together(mine)

    def _answers(self, student: nn.Module) -> dict[str, np.ndarray]:
        """Answers to this rank's rows. Ranks do the same number of micro-batches, as FSDP wants; short ones repeat the
        last row.
        """
        world, rank, size = self.comm.world, self.comm.rank, self.recipe.micro_batch
        share = -(-self.rows // world)
        mine = np.minimum(np.arange(rank * share, (rank + 1) * share), self.rows - 1)
        order = Order(self.groups.sizes, self.rows, 0, shuffle=False).window_rows(0)
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, share, CHUNK):
            table = self.recipe.prepare(self.groups.read(order[mine[start : start + CHUNK]]), training=False)
            for offset in range(0, table.num_rows, size):
                inputs = self.task.collate(table.slice(offset, size))
                inputs = {name: x.to(self.device) for name, x in inputs.items()}
                parts.append(self.task.evaluate(student, inputs))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _together(self, mine: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All ranks' answers in the order of rows, repeated ones left out."""
        if self.comm.world == 1:
            return mine
        from torch import distributed

        every: list[dict[str, np.ndarray]] = [{}] * self.comm.world
        distributed.all_gather_object(every, mine)
        return {name: np.concatenate([each[name] for each in every])[: self.rows] for name in mine}
