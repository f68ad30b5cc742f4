"""Processor time of a command and of everything that it starts, daemons included."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SUBREAPER = 36
_GRACE = 20.0


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
    """
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)
    before, started = _used(), time.monotonic()
    with log.open("wb") as out:
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
    return Cost(_used() - before, wall, status)


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
