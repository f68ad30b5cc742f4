"""Seconds of work that runs side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Clock:
    """Shares time out among the calls that run at once, so that their seconds add up to those in which any ran."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running, self._each, self._at = 0, 0.0, 0.0

    def _advance(self, change: int) -> float:
        """Seconds that a call would have been given which had been there from the beginning."""
        with self._lock:
            now = time.perf_counter()
            self._each += (now - self._at) / self._running if self._running else 0.0
            self._at, self._running = now, self._running + change
            return self._each

    @contextmanager
    def run(self) -> Iterator[Callable[[], float]]:
        """Time a block; the function that it gets tells its seconds once the block has ended."""
        begun, ended = self._advance(1), 0.0
        try:
            yield lambda: ended - begun
        finally:
            ended = self._advance(-1)
