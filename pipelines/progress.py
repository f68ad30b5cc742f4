"""How far a run is, in the log."""

from __future__ import annotations

import logging
import time

PROGRESS_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Progress:
    """A log line every few seconds: chunks, rows, rows per second."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total = name, total
        self.steps = self._rows = 0
        self._begun = self._told = time.monotonic()

    def step(self, rows: int) -> None:
        """One more chunk is done."""
        self.steps += 1
        self._rows += rows
        now = time.monotonic()
        if self.steps == self._total or now - self._told > PROGRESS_SECONDS:
            self._told = now
            rate = self._rows / max(now - self._begun, 1e-9)
            logger.info(
                "%s: %d of %d chunks, %d rows, %.1f rows/s", self._name, self.steps, self._total, self._rows, rate
            )
