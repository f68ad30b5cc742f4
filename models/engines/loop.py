"""One event loop for all engines of a process, on a thread of its own.

An engine that serves many requests at once belongs to one loop for as long as it lives, while batches come from
whichever thread the caller has: several batches in flight then share the engine.
"""

from __future__ import annotations

import asyncio
import threading
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
