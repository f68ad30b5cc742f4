"""Which rows were being computed when a worker died, so that the next one finds the row that kills.

A process may compute batches of several chunks at the same time, each with a note of its own; when it dies, the rows of
all of them are suspects. Suspects are computed while nothing else is, in ever smaller groups, so that a row that dies
alone is certainly the one, and a row that happened to be computed beside it is not blamed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from potstill.pipelines.rundir import RunDir

NOTES = ".inflight"
"""Folder of the notes about batches that are being computed."""
PARTS = 8
"""Groups into which the rows of a batch are split that killed its worker: few deaths until one row is left, and few
turns alone for the rows of a worker that died of something else."""


class Turns:
    """Who may compute in a process: any number of batches side by side, or one alone, which goes before others."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = self._waiting_alone = 0
        self._alone = False

    @contextmanager
    def turn(self, *, alone: bool = False) -> Iterator[None]:
        """Wait for a turn and hold it."""
        with self._changed:
            self._waiting_alone += alone
            self._changed.wait_for(lambda: not self._alone and not (self._running if alone else self._waiting_alone))
            self._waiting_alone -= alone
            self._running += 1
            self._alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._alone = False
                self._changed.notify_all()


class Note:
    """What the batches of one stage over one chunk have done to their workers, kept where the next worker finds it."""

    def __init__(self, run: RunDir, name: str, turns: Turns | None = None) -> None:
        self._run, self._name, self._turns = run, name, turns or Turns()
        found = run.read_json(name) if run.exists(name) else {}
        self.suspects: list[list[str]] = found.get("suspects", [])
        """Groups of rows, each to be computed alone."""
        self.poison: set[str] = set(found.get("poison", ()))
        """Rows whose worker died while it computed nothing else, and had died with them before."""
        self.deaths: dict[str, int] = found.get("deaths", {})
        """How often a row's worker has died."""
        self._blame(found.get("running", []))

    def _blame(self, died: Sequence[str]) -> None:
        """Count a death for the rows that were being computed, and decide how each is computed next."""
        for id_ in died:
            self.deaths[id_] = self.deaths.get(id_, 0) + 1
        others = ([id_ for id_ in group if id_ not in died] for group in self.suspects)
        self.suspects = [group for group in others if group]
        if len(died) == 1 and self.deaths[died[0]] > 1:
            self.poison.add(died[0])
        else:
            size = max(1, -(-len(died) // PARTS))
            self.suspects += [list(died[start : start + size]) for start in range(0, len(died), size)]

    @contextmanager
    def computing(self, ids: Sequence[str], *, alone: bool = False) -> Iterator[None]:
        """Hold a turn and remember the rows for as long as they are computed. After an exception they stay noted."""
        with self._turns.turn(alone=alone):
            self._write(ids)
            yield
            self._write(())

    def _write(self, running: Sequence[str]) -> None:
        if running or self.deaths:
            state = {
                "running": list(running), "suspects": self.suspects, "poison": sorted(self.poison),
                "deaths": self.deaths,
            }  # fmt: skip
            self._run.write_bytes(self._name, json.dumps(state).encode(), durable=False)
        else:
            self._run.remove(self._name)
