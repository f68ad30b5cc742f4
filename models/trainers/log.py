"""What a training says of itself: a line of JSON per entry, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from potstill.models.trainers.folder import Folder


class Log:
    """Writes entries as they come; only rank 0 has one."""

    def __init__(self, folder: Folder, step: int) -> None:
        from tensorboardX import SummaryWriter

        folder.cut_log(step)
        self._lines = folder.metrics.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder.root / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, entry: Mapping[str, float]) -> None:
        """One entry; a number that is not finite is null in JSON."""
        plain = {name: x if math.isfinite(x) else None for name, x in entry.items()}
        self._lines.write(json.dumps({"step": step, **plain}) + "\n")
        self._lines.flush()
        for name, x in entry.items():
            self._board.add_scalar(name, x, step)

    def close(self) -> None:
        """End both files."""
        self._lines.close()
        self._board.close()
