"""The loop of every training, in one worker or in many: steps, evaluations, checkpoints, and going on from one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from potstill.models.losses.comm import Comm
from potstill.models.losses.loss import Batch
from potstill.models.losses.schedule import Progress
from potstill.models.losses.stack import LossStack
from potstill.models.trainers.evaluate import Evaluation
from potstill.models.trainers.feed import local_windows, micro_batches, read_window, span
from potstill.models.trainers.folder import Folder, TrainFailed
from potstill.models.trainers.log import Log
from potstill.models.trainers.parquet import groups
from potstill.models.trainers.place import Place
from potstill.models.trainers.recipe import Recipe
from potstill.models.trainers.row_log import RowLog
from potstill.models.trainers.step import Learner, Stepper, make_optimizer, whole, wrapped

SKIPPED_AT_MOST = 5
"""Steps in a row without a finite gradient before a training gives up."""
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
PARTS = StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)


class Training:
    """One worker's part of a training, from its last checkpoint or from the beginning."""

    def __init__(self, recipe: Recipe, folder: Folder, place: Place) -> None:
        self.recipe, self.folder, self.place = recipe, folder, place
        if recipe.compute.threads:
            torch.set_num_threads(recipe.compute.threads)
        self.groups = groups(recipe.data, recipe.columns())
        self.order = self.groups.order(recipe.data, recipe.seed)
        self.total = recipe.total_steps(self.order.rows)
        self.done = folder.last(self.total)
        torch.manual_seed(recipe.seed)
        self.task = recipe.build()
        self.task.to(place.device)
        self.stepper = self._stepper()
        self.best: tuple[float, int] | None = None
        self._seed(recipe.seed + 1 + place.comm.rank)
        if self.done:
            self._restore(folder.load(self.done))
        where = (self.task, place.comm, place.device)
        self.evaluation = Evaluation(recipe, recipe.validation, *where) if recipe.validation else None
        self.row_log = RowLog(recipe, folder, *where) if recipe.saving.row_log else None

    def _stepper(self) -> Stepper:
        """The first micro-batch tells the losses with weights of their own how large things are."""
        recipe, task, device = self.recipe, self.task, self.place.device
        first = self.groups.read(self.order.window_rows(0)[: recipe.micro_batch])
        inputs = {name: x.to(device) for name, x in task.collate(recipe.prepare(first, training=True)).items()}
        needs = frozenset().union(*(loss.needs() for loss in recipe.losses))
        was_training = task.student.training
        task.student.eval()
        with torch.no_grad():
            example = Batch(task.see(task.student, inputs, needs), task.labels(inputs), task.teach(inputs, needs))
        task.student.train(was_training)
        learner = Learner(task, LossStack(recipe.losses, example).to(device), recipe.compute).train()
        if recipe.compute.compile:
            task.student.compile()
        model = wrapped(learner, task, recipe.compute, device)
        optimizer = make_optimizer(recipe.optimizer, model)
        return Stepper(model, task, optimizer, recipe.optimizer.clip, self.place.comm, device)

    def windows(self) -> tuple[int, int, int]:
        """First window of all workers, how many, and rows of the first that were seen before."""
        world, per_step = self.place.comm.world, self.recipe.batch_size // self.place.comm.world
        return span(self.order.window, self.done * per_step, self.total * per_step, world)

    def local(self) -> Iterator[pa.Table]:
        """This worker's windows, read in its own process."""
        first, count, _ = self.windows()
        world, rank = self.place.comm.world, self.place.comm.rank

        def read(index: int) -> pa.Table:
            return read_window(self.recipe, self.groups, self.order, first + rank + index * world)

        return local_windows(read, 0, count // world)

    def run(self, windows: Iterator[pa.Table], report: Callable[[Mapping[str, float]], None]) -> dict[str, float]:
        """Train to the end; returns the last evaluation, or the last step's losses."""
        recipe, comm = self.recipe, self.place.comm
        first, _, skip = self.windows()
        feed = micro_batches(windows, recipe.micro_batch, skip, first + comm.rank, comm.world, self.order.window)
        skipped, last, since = 0, {}, time.perf_counter()
        with Log(self.folder, self.done, comm.rank) as log:
            for step in range(self.done + 1, self.total + 1):
                micro = [self.task.collate(next(feed)) for _ in range(recipe.accumulation)]
                entry = self._step(micro, step)
                skipped = skipped + 1 if entry["nan/skipped"] else 0
                if "loss/total" in entry:
                    entry["seconds"], since = time.perf_counter() - since, time.perf_counter()
                    log.write(step, entry)
                    last = entry
                if skipped >= SKIPPED_AT_MOST:
                    raise TrainFailed(self._not_finite(step, entry))
                before, ended = ((each * recipe.batch_size) // self.order.rows for each in (step - 1, step))
                if self.row_log and ended > before:
                    with whole(self.stepper.model):
                        self.row_log.write(before, self.stepper.learner.student)
                if self._due(step, recipe.saving.evaluate_every) and self.evaluation:
                    with whole(self.stepper.model):
                        last = self.evaluation.run(self.stepper.learner.student)
                    log.write(step, {f"validation/{name}": x for name, x in last.items()})
                    self._keep_best(step, last)
                    report({**last, "step": step, "samples": step * recipe.batch_size})
                if self._due(step, recipe.saving.checkpoint_every) or (self.best and self.best[1] == step):
                    self._save(step)
        return last

    def _step(self, micro: list[dict[str, torch.Tensor]], step: int) -> dict[str, float]:
        """One step; what it says has losses where it is to be logged."""
        recipe, samples = self.recipe, step * self.recipe.batch_size
        progress = Progress(step, (samples - 1) // self.order.rows + 1, samples, self.total)
        logged = step == 1 or self._due(step, recipe.saving.log_every)
        entry = self.stepper.step(micro, progress, recipe.learning_rate.at(step, self.total), logged)
        return entry | {"epoch": progress.epoch, "samples": samples}

    def _due(self, step: int, every: int | None) -> bool:
        return step == self.total or (every is not None and step % every == 0)

    def _not_finite(self, step: int, entry: Mapping[str, float]) -> str:
        terms = ", ".join(f"{name[5:]} {x:.4g}" for name, x in entry.items() if name.startswith("loss/"))
        return (
            f"the gradient was not finite in {SKIPPED_AT_MOST} steps in a row, the last being {step} ({terms}); lower "
            "optimizer.lr, set optimizer.clip, or look at the rows of those steps"
        )

    def _keep_best(self, step: int, metrics: Mapping[str, float]) -> None:
        name = self.recipe.saving.best
        if name is None:
            return
        sign, key = (-1, name[1:]) if name.startswith("-") else (1, name)
        if key not in metrics:
            raise TrainFailed(f"saving.best is {name!r}, but the evaluation gives {', '.join(metrics)}")
        if self.best is None or sign * metrics[key] > self.best[0]:
            self.best = (sign * metrics[key], step)

    def _save(self, step: int) -> None:
        model, optimizer = get_state_dict(self.stepper.model, self.stepper.optimizer, options=WHOLE)
        rng = _gathered(_rng(self.place.device), self.place.comm)
        if self.place.comm.rank == 0:
            state = {"step": step, "model": model, "optimizer": optimizer, "rng": rng, "best": self.best}
            self.folder.save(step, state)
            self.folder.prune(self.recipe.saving.keep, self.best[1] if self.best else None)
        _barrier(self.place.comm)

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Be where a checkpoint was written."""
        self._load(state["model"])
        model, optimizer = self.stepper.model, self.stepper.optimizer
        set_optimizer_state_dict(model, optimizer, state["optimizer"], options=PARTS)
        for name, parameter in model.named_parameters():  # one that no loss has reached yet has no state
            if name.removeprefix("module.") not in state["optimizer"]["state"]:
                optimizer.state.pop(parameter, None)
        self.best = tuple(state["best"]) if state["best"] else None
        if self.place.comm.rank < len(state["rng"]):
            _set_rng(state["rng"][self.place.comm.rank])

    def _load(self, weights: Mapping[str, torch.Tensor]) -> None:
        set_model_state_dict(self.stepper.model, dict(weights), options=WHOLE)

    def export(self) -> int:
        """Write the best weights, or the last, as a model; returns their step. Every rank takes part."""
        step = self.best[1] if self.best else self.total
        if step != self.total:
            self._load(self.folder.load(step)["model"])
        model = get_model_state_dict(self.stepper.model, options=WHOLE)
        if self.place.comm.rank == 0:
            student = {name.removeprefix("student."): x for name, x in model.items() if name.startswith("student.")}
            self.task.export(self.folder.model, student)
        _barrier(self.place.comm)
        return step

    @staticmethod
    def _seed(seed: int) -> None:
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)


def _rng(device: str) -> dict[str, Any]:
    """States of all random generators, in plain values: they are sent to rank 0 and kept in a checkpoint."""
    name, keys, *rest = np.random.get_state()
    state = {"torch": torch.get_rng_state().tolist(), "numpy": [name, keys.tolist(), *rest]}
    state["python"] = random.getstate()
    return state | ({"cuda": torch.cuda.get_rng_state(device).tolist()} if device.startswith("cuda") else {})


def _set_rng(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))
    version, inner, gauss = state["python"]
    random.setstate((version, tuple(inner), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.asarray(keys, np.uint32), *rest))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.tensor(state["cuda"], dtype=torch.uint8))


def _gathered(mine: Any, comm: Comm) -> list[Any]:
    """An object of each rank, in order, on rank 0."""
    if comm.world == 1:
        return [mine]
    from torch import distributed

    every: list[Any] = [None] * comm.world
    distributed.all_gather_object(every, mine)
    return every


def _barrier(comm: Comm) -> None:
    if comm.world > 1:
        from torch import distributed

        distributed.barrier()
