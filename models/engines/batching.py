"""Batches out of requests that arrive one by one, so that their composition follows from the requests, not from timing.

Requests are collected until every caller waits; then the largest group of alike requests gives a batch, in an order of
their own. A batch that raises is halved until the requests that make it raise stand alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from potstill.models.engines.protocol import Completion, Request

QUIET_TICKS = 8
"""Turns of the event loop without a new request after which every caller is taken to wait."""


@dataclass(eq=False, slots=True)
class Job:
    """A request with its prompt as text, and where its answer goes."""

    request: Request
    prompt: str
    future: asyncio.Future[Completion]

    def group(self) -> tuple[int, int, int]:
        """Jobs of one group fit in one batch: as many choices (-1: none asked), as many images, as long a reply."""
        choices = self.request.choices
        return -1 if choices is None else len(choices), len(self.request.images), self.request.sampling.max_tokens

    def order(self) -> tuple[Any, ...]:
        """Place in a batch: prompts of like length together; equal requests as they came."""
        return len(self.prompt), self.prompt, self.request.sampling.seed, self.request.choices or ()


Answer = Completion | Exception
Compute = Callable[[Sequence[Job]], Sequence[Answer]]


class Batcher:
    """Serves requests of any number of loops by calling ``compute``, which blocks, on ``max_batch`` jobs at most."""

    def __init__(self, compute: Compute, max_batch: int) -> None:
        self._compute, self._max_batch = compute, max_batch
        self._queues: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        self._servers: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    async def submit(self, request: Request, prompt: str) -> Completion:
        """The answer to ``request``; raises what computing it alone raises."""
        loop = asyncio.get_running_loop()
        job = Job(request, prompt, loop.create_future())
        if loop in self._queues:
            self._queues[loop].append(job)
        else:
            self._queues[loop] = [job]
            self._servers[loop] = loop.create_task(self._serve(loop))
        return await job.future

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer the requests of a loop, one batch after the other, until none is left."""
        queue = self._queues[loop]
        try:
            while queue:
                await _quiet(queue)
                batch = next_batch(queue, self._max_batch)
                for job, answer in zip(batch, answers(self._compute, batch), strict=True):
                    if job.future.done():  # its caller has gone
                        continue
                    if isinstance(answer, Exception):
                        job.future.set_exception(answer)
                    else:
                        job.future.set_result(answer)
                await _quiet(queue)
        finally:
            del self._queues[loop], self._servers[loop]
            for job in queue:
                job.future.cancel()


async def _quiet(queue: Sequence[Job]) -> None:
    """Return when no request has come for :data:`QUIET_TICKS` turns of the loop."""
    seen, ticks = len(queue), 0
    while ticks < QUIET_TICKS:
        await asyncio.sleep(0)
        seen, ticks = len(queue), ticks + 1 if len(queue) == seen else 0


def next_batch(queue: list[Job], most: int) -> list[Job]:
    """Take at most ``most`` jobs of the largest group out of ``queue``, in the order of the requests themselves."""
    groups: dict[tuple[int, int, int], list[Job]] = {}
    for job in queue:
        groups.setdefault(job.group(), []).append(job)
    _, jobs = max(groups.items(), key=lambda item: (len(item[1]), item[0]))
    batch = sorted(jobs, key=Job.order)[:most]
    taken = set(map(id, batch))
    queue[:] = [job for job in queue if id(job) not in taken]
    return batch


def answers(compute: Compute, jobs: Sequence[Job]) -> list[Answer]:
    """One answer or exception for each job."""
    try:
        return list(compute(jobs))
    except Exception as error:  # noqa: BLE001 (whatever it is, it becomes the answer of the request that causes it)
        if len(jobs) == 1:
            return [error]
        middle = len(jobs) // 2
        return [*answers(compute, jobs[:middle]), *answers(compute, jobs[middle:])]
