"""Ray: tasks over chunks, and a segment as one streaming Ray Data job (read chunk, actors, commit).

Imported only once something must be computed; nothing above this module imports Ray.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext, Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from potstill.config import RequestError
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.segment import ChunkRead, Segment
from potstill.pipelines.stage import Resources, RowStage, apply, side_by_side
from potstill.pipelines.worker import Worker

IO_CPUS = 0.25
"""CPUs of a task that reads or commits a chunk."""
WAIT_FOR_ACTORS_SECONDS = 1800
CANCEL_SECONDS = 60

logger = logging.getLogger(__name__)


def over_chunks(fn: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """``fn(*call)`` as Ray tasks of one CPU each, a few more under way than there are CPUs; results as they come."""
    task = ray.remote(num_cpus=1, max_retries=3)(fn)
    limit = int(ray.cluster_resources().get("CPU", 1)) + 2
    running: list[ray.ObjectRef[Any]] = []
    try:
        for call in calls:
            if len(running) >= limit:
                finished, running = ray.wait(running)
                yield ray.get(finished[0])
            running.append(task.remote(*call))
        while running:
            finished, running = ray.wait(running)
            yield ray.get(finished[0])
    finally:  # after an error: nobody may write any more once the run has let go of its directory
        late = ray.wait(running, num_returns=len(running), timeout=CANCEL_SECONDS)[1] if running else []
        for left in late:  # an interrupt in the middle of an import would spoil the worker for what comes after
            ray.cancel(left, force=True)


def execute(segment: Segment, reads: Sequence[ChunkRead]) -> Iterator[dict[str, Any]]:
    """Run the segment over the chunks; yields one dict per committed chunk, in the order they finish."""
    with _context():
        dataset = ray.data.read_datasource(
            _ChunkSource(segment, reads), override_num_blocks=len(reads), num_cpus=IO_CPUS
        )
        for group in segment.groups:
            stages = [segment.plan.stages[position] for position in group]
            args = (segment.plan, group, segment.run.url, segment.attempt)
            name = "_".join(stage.name for stage in stages)
            each = [side_by_side(stage, segment.plan.resources_of(stage)) for stage in stages]
            dataset = apply(dataset, StageActor, args, segment.plan.resources_of(stages[0]), name, max(each))
        dataset = dataset.map_batches(
            _commit, fn_args=(segment,), batch_size=None, batch_format="pyarrow", num_cpus=IO_CPUS
        )
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from batch.to_pylist()


class StageActor:
    """The process that holds the models of a group of stages. Small arguments; models load here."""

    def __init__(self, plan: Plan, positions: Sequence[int], url: str, attempt: str) -> None:
        self._worker = Worker(plan, positions, RunDir(url), attempt)

    def __call__(self, table: pa.Table) -> pa.Table:
        """One chunk."""
        return self._worker(table)


def _commit(table: pa.Table, segment: Segment) -> pa.Table:
    return segment.commit(table)


class _ChunkSource(Datasource):
    """One read task, and so one block, per chunk."""

    def __init__(self, segment: Segment, reads: Sequence[ChunkRead]) -> None:
        self._segment, self._reads = segment, reads

    def estimate_inmemory_data_size(self) -> int:
        """Bytes, as far as Ray wants to know: nothing is decided by it."""
        return len(self._reads) * self._segment.plan.run.chunk_bytes

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        """The tasks; what Ray suggests about their number is not followed."""
        segment = self._segment
        return [
            ReadTask(
                lambda read=read: [segment.read(read)],
                BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None),
            )
            for read in self._reads
        ]


@contextmanager
def _context() -> Iterator[None]:
    """Ray Data set so that a block is a chunk from the first task to the last; put back afterwards."""
    context = DataContext.get_current()
    settings = {
        "target_max_block_size": None,
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "wait_for_min_actors_s": WAIT_FOR_ACTORS_SECONDS,
    }
    before = {name: getattr(context, name) for name in settings}
    loggers = {name: logging.getLogger(name).level for name in ("ray.data", "ray")}
    for name, value in settings.items():
        setattr(context, name, value)
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        for name, level in loggers.items():
            logging.getLogger(name).setLevel(level)


def groups_of(plan: Plan, start: int, stop: int) -> tuple[tuple[int, ...], ...]:
    """Positions of the row stages in [start, stop), neighbours with equal resources together."""
    groups: list[list[int]] = []
    for position in range(start, stop):
        stage = plan.stages[position]
        if not isinstance(stage, RowStage):
            continue
        same = groups and _pool(plan, groups[-1][-1]) == _pool(plan, position)
        if same:
            groups[-1].append(position)
        else:
            groups.append([position])
    return tuple(tuple(group) for group in groups)


def _pool(plan: Plan, position: int) -> tuple[Any, ...]:
    return plan.resources_of(plan.stages[position]).pool()


def fit(plan: Plan, start: int, stop: int) -> list[tuple[int, int, tuple[tuple[int, ...], ...]]]:
    """The segment [start, stop), cut where its actors would not fit the cluster together.

    Raises :class:`RequestError` when one group alone does not fit.
    """
    have = dict(ray.cluster_resources())
    have["CPU"] = have.get("CPU", 0) - IO_CPUS * 2
    pieces: list[tuple[int, int, list[tuple[int, ...]]]] = []
    used: dict[str, float] = {}
    for group in groups_of(plan, start, stop):
        resources: Resources = plan.resources_of(plan.stages[group[0]])
        needs = resources.needs()
        names = ", ".join(plan.stages[position].name for position in group)
        for kind, amount in needs.items():
            if amount > have.get(kind, 0):
                raise RequestError(
                    f"stage {names} wants {amount:g} {kind}, the cluster has {have.get(kind, 0):g} to give; "
                    "lower it under `resources` in the plan, or use a larger cluster"
                )
        together = {kind: used.get(kind, 0) + needs.get(kind, 0) for kind in {*used, *needs}}
        if pieces and all(amount <= have.get(kind, 0) for kind, amount in together.items()):
            pieces[-1][2].append(group)
            used = together
        else:
            if pieces:
                logger.info("stage %s does not fit the cluster beside those before it: it runs after them", names)
            pieces.append((group[0], stop, [group]))
            used = needs
    ends = [piece[0] for piece in pieces[1:]] + [stop]
    return [(begin, end, tuple(groups)) for (begin, _, groups), end in zip(pieces, ends, strict=True)]
