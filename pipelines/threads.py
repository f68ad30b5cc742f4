"""A small local run without Ray: its chunks in a few threads of the process itself.

Ray's start, and the imports of its workers, cost as much as hashing thousands of pictures. A run that died amid a batch
is not taken: workers can tell which row does it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from typing import Any

from potstill.pipelines.chunk import Chunk
from potstill.pipelines.errors import named
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.segment import ChunkRead, Segment
from potstill.pipelines.stage import BatchFn, RowStage
from potstill.pipelines.worker import NOTES, Worker

THREADS = 4
MOST_ROWS, MOST_BYTES = 4000, 512 << 20


def suffice(plan: Plan, run: RunDir, chunks: Sequence[Chunk]) -> bool:
    """Whether the input is small, all stages allow it, and the plan asks for no resources."""
    if plan.resources or run.exists(NOTES) or not all(stage.in_process for stage in plan.row_stages()):
        return False
    size = sum(item.bytes for part in chunks for item in part.items)
    return sum(part.rows for part in chunks) <= MOST_ROWS and size <= MOST_BYTES


def over_chunks(fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """``fn(*call)`` for each call, in order."""
    with _pool() as pool:
        yield from named(pool.map(lambda call: fn(*call), calls))


def execute(segment: Segment, reads: Sequence[ChunkRead]) -> Iterator[dict[str, Any]]:
    """Run the segment over the chunks; yields one dict per committed chunk.

    An interrupt waits for no batch; what is computed then is never committed, as another run may have begun.
    """
    interrupted, committing = threading.Event(), threading.Lock()
    stack = ExitStack()

    def build(stage: RowStage) -> BatchFn:
        """Build, and let torch, once it is there, compute in one thread for each caller, as in an actor of one CPU."""
        fn = stage.build()
        if torch := sys.modules.get("torch"):
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        return fn

    worker = Worker(segment.plan, segment.positions(), segment.run, segment.attempt, nullcontext(), build)

    def compute(read: ChunkRead) -> dict[str, Any]:
        result = worker(segment.read(read))
        with committing:
            if interrupted.is_set():
                raise KeyboardInterrupt
            return segment.commit(result).to_pylist()[0]

    pool = _pool()
    try:
        yield from named(pool.map(compute, reads))
    except KeyboardInterrupt:
        with committing:
            interrupted.set()
        segment.run.remove_tree(NOTES)
        raise
    finally:
        pool.shutdown(wait=not interrupted.is_set(), cancel_futures=True)
        stack.close()


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))
