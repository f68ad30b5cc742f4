"""What a training says of itself: a line of JSON per entry, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from potstill.models.trainers.folder import Folder


class Log:
    """Writes entries as they come, after those up to ``step`` that are there; a rank other than 0 writes nothing."""

    def __init__(self, folder: Folder, step: int, rank: int) -> None:
        self._folder, self._step, self._writes = folder, step, rank == 0

    def __enter__(self) -> Log:
        if self._writes:
            from tensorboardX import SummaryWriter

            self._folder.cut_log(self._step)
            self._lines = self._folder.metrics.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(self._folder.root / "tensorboard"), purge_step=self._step + 1)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._writes:
            self._lines.close()
            self._board.close()

    def write(self, step: int, entry: Mapping[str, float]) -> None:
        """One entry; a number that is not finite is null in JSON."""
        if not self._writes:
            return
        plain = {name: x if math.isfinite(x) else None for name, x in entry.items()}
        self._lines.write(json.dumps({"step": step, **plain}) + "\n")
        self._lines.flush()
        for name, x in entry.items():
            self._board.add_scalar(name, x, step)
