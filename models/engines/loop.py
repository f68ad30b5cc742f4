"""One event loop for all engines of a process, on a thread of its own.

An engine that serves many requests at once belongs to one loop for as long as it lives, while batches come from
whichever thread the caller has: several batches in flight then share the engine.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, run on the engines' loop; the calling thread waits. Not to be called from that loop."""
    return asyncio.run_coroutine_threadsafe(work, _running_loop()).result()


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="potstill-engines", daemon=True).start()
        return _loop


class Budget:
    """Bytes that work on the engines' loop may hold together. Who finds too few left waits in line."""

    def __init__(self, limit: int) -> None:
        self.limit = self.free = limit
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> int:
        """Wait for ``size`` bytes; what was taken, to be given back. More than the limit is taken as the limit."""
        size = min(size, self.limit)
        if self._line or size > self.free:
            turn = asyncio.get_running_loop().create_future()
            self._line.append((size, turn))
            await turn
        else:
            self.free -= size
        return size

    def give(self, size: int) -> None:
        """Give back what :meth:`take` returned, to those in line."""
        self.free += size
        while self._line and self._line[0][0] <= self.free:
            size, turn = self._line.popleft()
            if not turn.done():  # else its taker has gone
                self.free -= size
                turn.set_result(None)
