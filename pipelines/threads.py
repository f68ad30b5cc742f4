"""A small local run without Ray: its chunks in a few threads of the process itself.

Ray's start, and the imports of its workers, cost as much as a thousand pictures. A run that died amid a batch is not
taken: workers can tell which row does it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

from potstill.pipelines import schema
from potstill.pipelines.chunk import Chunk
from potstill.pipelines.errors import named
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.segment import ChunkRead, Segment
from potstill.pipelines.stage import WITHOUT_MODEL
from potstill.pipelines.worker import NOTES, Worker, check_complete

THREADS = 4
MOST_BYTES = 512 << 20


def suffice(plan: Plan, run: RunDir, chunks: Sequence[Chunk]) -> bool:
    """Whether the plan asks for no resources, its input is small, and all its stages allow as many rows."""
    most = min((stage.in_process_rows for stage in plan.row_stages()), default=WITHOUT_MODEL)
    if plan.resources or sum(part.rows for part in chunks) > most or run.exists(NOTES):
        return False
    return sum(item.bytes for part in chunks for item in part.items) <= MOST_BYTES


class Threads:
    """The threads of one run. An interrupt waits for none of them: what is under way then is not committed."""

    def __init__(self, run: RunDir) -> None:
        self._run, self._interrupted = run, threading.Event()

    def over_chunks(self, fn: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """``fn(*call)`` for each call, in order."""
        pool = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))
        try:
            yield from named(pool.map(lambda call: fn(*call), calls))
        except KeyboardInterrupt:
            self._interrupted.set()
            self._run.remove_tree(NOTES)
            raise
        finally:
            pool.shutdown(wait=not self._interrupted.is_set(), cancel_futures=True)

    def execute(self, segment: Segment, reads: Sequence[ChunkRead]) -> Iterator[dict[str, Any]]:
        """Run the segment over the chunks; yields one dict per committed chunk. The stages are built once."""
        worker = Worker(segment.plan, segment.positions(), segment.run, segment.attempt, one=nullcontext())

        def compute(read: ChunkRead) -> dict[str, Any]:
            table = segment.read(read)
            result = worker(table)
            check_complete(result, table[schema.SAMPLE_ID].to_pylist())
            if self._interrupted.is_set():
                raise KeyboardInterrupt
            return segment.commit(result).to_pylist()[0]

        with _one_thread_each():
            yield from self.over_chunks(compute, [(read,) for read in reads])


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Torch, if it is loaded, computes in one thread for each that calls it, as in an actor of one CPU."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
