"""What a model that sees says of each target token of an answer: its best tokens, to be stored for distillation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from potstill.config import RequestError
from potstill.models.trainers.vlm import VlmRecipe
from potstill.models.trainers.vlm_batch import collated
from potstill.models.trainers.vlm_rows import ANSWER, IDS, prepared, reader_of, unpacked
from potstill.models.trainers.vlm_task import VlmTask

Best = tuple[np.ndarray, np.ndarray]
"""Of an answer's T target tokens the teacher's k best: int32 (T, k), and their log-probabilities, float16 (T, k)."""


class TokenTeacher:
    """A model, read from the columns that a `vlm` recipe names, with the same template and targets as its training."""

    def __init__(self, recipe: VlmRecipe, top_k: int, temperature: float, batch_size: int, device: str) -> None:
        self.recipe, self.top_k, self.temperature = recipe, top_k, temperature
        self.batch_size, self.device = batch_size, torch.device(device)
        self.task = VlmTask(recipe)
        self.task.student.requires_grad_(False).eval().to(self.device)
        self.identity = reader_of(recipe, recipe.pretrained).identity()
        self.classes = len(self.task.student.get_output_embeddings().weight)
        if top_k >= self.classes:
            raise RequestError(f"top_k {top_k} of {self.classes} tokens; keep fewer than there are")

    def say(self, rows: pa.Table) -> list[Best | Exception]:
        """Of each row its best tokens, or why it cannot be read. Rows of like length share a forward pass."""
        found: list[Best | Exception | None] = [None] * rows.num_rows
        ready: list[tuple[int, pa.Table]] = []
        for row in range(rows.num_rows):
            try:
                ready.append((row, prepared(self.recipe, rows.slice(row, 1))))
            except RequestError as error:
                found[row] = ValueError(str(error))
        ready.sort(key=lambda each: len(unpacked(each[1][ANSWER])[0][IDS]))
        for start in range(0, len(ready), self.batch_size):
            part = ready[start : start + self.batch_size]
            for (row, _), best in zip(part, self._best([table for _, table in part]), strict=True):
                found[row] = best
        return found  # pyright: ignore[reportReturnType]

    def _best(self, tables: Sequence[pa.Table]) -> list[Best]:
        inputs = {name: x.to(self.device) for name, x in collated(pa.concat_tables(tables), self.task.pad).items()}
        with torch.no_grad():
            valid = self.task.labels(inputs).masks["response"]
            logits = self.task.see(self.task.student, inputs, frozenset()).logits[valid]
            logits = logits.dense() if hasattr(logits, "dense") else logits
            logp, idx = (logits.float() / self.temperature).log_softmax(-1).topk(self.top_k, -1)
        counts = valid.sum(1).tolist()
        pairs = zip(idx.int().cpu().split(counts), logp.half().cpu().split(counts), strict=True)
        return [(best.numpy(), each.numpy()) for best, each in pairs]
