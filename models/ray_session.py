"""A Ray session for as long as something runs. Imported only where Ray is needed."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from potstill.config import RequestError

START_TRIES = 3
CONNECT_SECONDS = 10

logger = logging.getLogger(__name__)


@contextmanager
def session(address: str, spare_cpus: int) -> Iterator[None]:
    """A Ray session: ``local`` starts one and ends it; ``auto`` or ``host:port`` joins one and leaves it running.

    A session that the caller has is used as it is. The local one counts ``spare_cpus`` more than there are, for tasks
    that only move bytes or wait for files.
    """
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        _start(num_cpus=(os.cpu_count() or 1) + spare_cpus, include_dashboard=False, **quiet)
    else:
        try:
            _knock(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
            ray.init(address=address, **quiet)
        except OSError as error:
            raise RequestError(f"no Ray cluster at {address!r}: {error}; start one, or use --ray local") from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises ``OSError`` where nothing listens at ``host:port``; Ray itself would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        socket.create_connection((host.rpartition("/")[2].strip("[]"), int(port)), CONNECT_SECONDS).close()


def _start(**settings: Any) -> None:
    """Start a local Ray. On a loaded machine it can miss its own fixed time limit of 30 seconds: tried again."""
    for attempt in range(START_TRIES):
        try:
            ray.init(address="local", **settings)
            return
        except Exception as error:
            ray.shutdown()
            if "timed out during startup" not in str(error) or attempt == START_TRIES - 1:
                raise
            logger.info("Ray did not start in time; trying again")
