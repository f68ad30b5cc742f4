"""The folder of a training: its recipe, its log, its checkpoints, the model that comes out.

    DIR/recipe.yaml  train.json  metrics.jsonl  tensorboard/  checkpoints/step-00000500/state.pt  model/

It is a path that every worker sees: on a cluster, shared storage.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from potstill.config import RequestError, read_yaml

STATE = "state.pt"


class TrainFailed(Exception):
    """A training that could not go on. What it committed stands."""


@dataclass(frozen=True)
class Folder:
    """Paths and files of a training."""

    root: Path

    @property
    def model(self) -> Path:
        """What comes out."""
        return self.root / "model"

    @property
    def metrics(self) -> Path:
        """A line of JSON for each log entry and evaluation."""
        return self.root / "metrics.jsonl"

    def make(self) -> None:
        """Create it. Raises :class:`RequestError` where that cannot be."""
        try:
            (self.root / "checkpoints").mkdir(parents=True, exist_ok=True)
            probe = self.root / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise RequestError(f"cannot write to {self.root}: {error.strerror}; give another --out") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others out. Raises :class:`RequestError` while another training of this machine writes here."""
        with (self.root / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RequestError(
                    f"another training writes to {self.root}; wait for it, or give another --out"
                ) from None
            yield

    def recipe(self) -> dict[str, Any] | None:
        """The recipe that was trained here; None where nothing came of one yet."""
        begun = self.steps() or self.status().get("state") == "done"
        return read_yaml(self.root / "recipe.yaml") if begun else None

    def write_recipe(self, tree: Mapping[str, Any]) -> None:
        """Keep the resolved recipe."""
        self._replace("recipe.yaml", yaml.safe_dump(dict(tree), sort_keys=False))

    def status(self) -> dict[str, Any]:
        """``train.json``: empty before the first word."""
        path = self.root / "train.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace ``train.json``."""
        self._replace("train.json", json.dumps(status, indent=2))

    def _replace(self, name: str, text: str) -> None:
        aside = self.root / f".{name}"
        aside.write_text(text, encoding="utf-8")
        aside.replace(self.root / name)

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, in order."""
        names = (self.root / "checkpoints").glob(f"step-*/{STATE}")
        return sorted(int(path.parent.name.removeprefix("step-")) for path in names)

    def last(self, most: int) -> int:
        """The last step with a checkpoint that is not after ``most``; 0 where there is none."""
        return max([step for step in self.steps() if step <= most], default=0)

    def ended(self) -> dict[str, Any]:
        """What rank 0 said at the end."""
        return json.loads((self.root / "ended.json").read_text(encoding="utf-8"))

    def write_ended(self, ended: Mapping[str, Any]) -> None:
        """Say how it ended."""
        self._replace("ended.json", json.dumps(ended))

    def checkpoint(self, step: int) -> Path:
        """Folder of a checkpoint."""
        return self.root / "checkpoints" / f"step-{step:08d}"

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint whole or not at all. Raises :class:`TrainFailed` on a full disk."""
        import torch

        final = self.checkpoint(step)
        aside = final.with_name(f".{final.name}")
        try:
            aside.mkdir(exist_ok=True)
            with (aside / STATE).open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            if final.exists():
                shutil.rmtree(final)
            aside.rename(final)
        except (OSError, RuntimeError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            if getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(self.root).free < 2**20:
                last = f"step {self.steps()[-1]}" if self.steps() else "none"
                raise TrainFailed(
                    f"no space left at {self.root} for the checkpoint of step {step} (last whole one: {last}); make "
                    "room and run the same command again"
                ) from error
            raise

    def load(self, step: int) -> dict[str, Any]:
        """A checkpoint's state, tensors and plain values only."""
        import torch

        return torch.load(self.checkpoint(step) / STATE, map_location="cpu", weights_only=True)

    def prune(self, keep: int, best: int | None) -> None:
        """Remove all checkpoints but the last ``keep`` and the best."""
        for step in self.steps()[:-keep]:
            if step != best:
                shutil.rmtree(self.checkpoint(step))

    def cut_log(self, step: int) -> None:
        """Forget log entries after a step: they are going to be written again."""
        if self.metrics.exists():
            lines = [line for line in self.metrics.read_text(encoding="utf-8").splitlines() if line]
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self._replace("metrics.jsonl", "".join(f"{line}\n" for line in kept))
