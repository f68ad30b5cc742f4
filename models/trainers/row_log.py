"""What a classifier says of every row that it learns from, at the end of each epoch: how hard rows are follows from it.

The stage `difficulty` reads the folder; docs/selection.md says what its columns are.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import nn

from potstill.models.losses.comm import Comm
from potstill.models.losses.numerics import IGNORED
from potstill.models.trainers.classifier_task import LOGITS
from potstill.models.trainers.evaluate import Evaluation
from potstill.models.trainers.folder import Folder
from potstill.models.trainers.pictures import SAMPLE_ID
from potstill.models.trainers.recipe import Recipe
from potstill.models.trainers.task import Task

LABEL = "target"


class RowLog:
    """Writes ``log/epoch-00000.parquet`` and so on; rank 0 alone."""

    def __init__(self, recipe: Recipe, folder: Folder, task: Task, comm: Comm, device: str) -> None:
        self.evaluation = Evaluation(recipe, recipe.data, task, comm, device)
        self.folder, self.comm = folder.root / "log", comm

    def write(self, epoch: int, student: nn.Module) -> None:
        """The outputs of the student as it is now, for all rows with a label. Epochs count from 0."""
        answers = self.evaluation.answers(student)
        if self.comm.rank:
            return
        known = answers[LABEL] != IGNORED
        ids = self.evaluation.groups.whole((SAMPLE_ID,))[SAMPLE_ID].filter(pa.array(known))
        table = pa.table({
            SAMPLE_ID: ids, "epoch": np.full(int(known.sum()), epoch, np.int32), "label": answers[LABEL][known],
            "logits": pa.array(list(answers[LOGITS][known]), pa.list_(pa.float32())),
        })  # fmt: skip
        self.folder.mkdir(exist_ok=True)
        aside = self.folder / f".epoch-{epoch:05d}"
        pq.write_table(table, aside)
        aside.replace(self.folder / f"epoch-{epoch:05d}.parquet")
