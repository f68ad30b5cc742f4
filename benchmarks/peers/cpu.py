"""Processor time of a command and of everything that it starts, daemons included."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SUBREAPER = 36
_GRACE = 20.0
_EVERY = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What a command took, and how it ended."""

    cpu: float
    """User and system seconds of the whole process tree."""
    wall: float
    status: int
    """Exit code; negative: the signal that ended it; 124: it ran out of time."""


def measure(command: Sequence[str], log: Path, limit: float, env: Mapping[str, str] | None = None) -> Cost:
    """Run the command with its output in ``log`` and wait for it and for all it leaves behind.

    Linux alone: processes whose parent has ended become children of this one, so that their time counts when they end.
    What still runs after a grace of 20 seconds is ended.

    The kernel tells the time of those that somebody waited for. A process that ignores its children's end, as Ray's
    raylet does, loses theirs: so every process is looked at 20 times a second too, and the larger sum counts. It may
    lack the last 0.05 seconds of each process that was lost so.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)
    before, started = _used(), time.monotonic()
    seen = _Seen()
    with seen, log.open("wb") as out:
        child = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}
        )
        try:
            status = child.wait(limit)
        except subprocess.TimeoutExpired:
            status = 124
            _end(psutil.Process(child.pid).children(recursive=True))
            child.kill()
            child.wait()
        wall = time.monotonic() - started
        deadline = time.monotonic() + _GRACE
        while _reap() and time.monotonic() < deadline:
            time.sleep(0.1)
        _end(psutil.Process().children(recursive=True))
        while _reap():
            time.sleep(0.05)
    return Cost(max(_used() - before, seen.total()), wall, status)


class _Seen:
    """Looks at all processes below this one again and again; remembers what each had used when it was seen last."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._others = {os.getpid()} | _running()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def total(self) -> float:
        """User and system seconds of all that were seen."""
        return sum(self._seconds.values())

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY):
            for pid in sorted(_running() - self._others):
                self._look(pid)

    def _look(self, pid: int) -> None:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            return
        if pid in self._seconds or int(fields[1]) in {os.getpid(), *self._seconds}:
            self._seconds[pid] = (int(fields[11]) + int(fields[12])) / _TICKS
        else:
            self._others.add(pid)


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reap() -> bool:
    """Collect what has ended; whether any child is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue


def _running() -> set[int]:
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
