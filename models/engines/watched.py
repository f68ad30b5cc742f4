"""vLLM's processes, made so that they end when the process that started them does."""

from __future__ import annotations

import multiprocessing
import os
import threading

from vllm.v1.executor import Executor
from vllm.v1.executor.multiproc_executor import MultiprocExecutor
from vllm.v1.executor.uniproc_executor import UniProcExecutor


class _Watched:
    """An executor whose process ends when the process that started it does, so that a killed worker leaves nothing."""

    def _init_executor(self) -> None:
        threading.Thread(target=_follow_parent, name="potstill-parent", daemon=True).start()
        super()._init_executor()  # pyright: ignore[reportAttributeAccessIssue]


class WatchedUniProc(_Watched, UniProcExecutor):
    """The engine's process computes as well (one GPU)."""


class WatchedMultiproc(_Watched, MultiprocExecutor):
    """The engine's process has workers, which end with it (several GPUs, or a CPU)."""


WATCHED: dict[type[Executor], type[Executor]] = {
    UniProcExecutor: WatchedUniProc,
    MultiprocExecutor: WatchedMultiproc,
}


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
