"""What the measurements share: generated pictures, a table, the memory of a process and its children."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image


def write_pictures(folder: Path, count: int, side: int = 256, seed: int = 0) -> Path:
    """``count`` different JPEGs of smooth noise, ``side`` pixels wide and high, about 10 KB each at 256 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=90)
        (folder / f"{number:06d}.jpg").write_bytes(buffer.getvalue())
        (folder / f"{number:06d}.txt").write_text(f"a picture with the number {number}")
    return folder


def print_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns as wide as their widest cell."""
    cells = [
        list(map(str, head)),
        *([f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def seconds(fn: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    fn()
    return time.perf_counter() - started


class Usage:
    """Of this process and all below it, sampled twice a second: the largest sum of proportional set sizes in bytes
    (``peak``; ``before`` at the start), and processor seconds (``cpu``)."""

    def __enter__(self) -> Usage:
        self._seconds: dict[int, float] = {}
        self.peak = self.before = self._now()
        self._first = dict(self._seconds)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, self._now())
        self.cpu = sum(self._seconds.values()) - sum(self._first.values())

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.peak = max(self.peak, self._now())

    def _now(self) -> int:
        total = 0
        own = psutil.Process()
        for process in [own, *own.children(recursive=True)]:
            try:
                times = process.cpu_times()
                self._seconds[process.pid] = times.user + times.system
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        return total
