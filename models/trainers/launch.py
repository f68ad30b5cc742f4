"""A training from its recipe: in this process, or by the workers of Ray Train."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from potstill import __version__
from potstill.config import RequestError, override, read_yaml, validate
from potstill.models.trainers.folder import Folder, TrainFailed
from potstill.models.trainers.loop import Training
from potstill.models.trainers.parquet import groups
from potstill.models.trainers.place import alone, grouped
from potstill.models.trainers.recipe import Recipe, same, shipped_recipes
from potstill.models.trainers.registry import RECIPES

logger = logging.getLogger(__name__)


def train(recipe: Recipe, out: str, address: str = "local") -> dict[str, Any]:
    """Train, or go on. Returns ``train.json``: steps, rows, the last metrics, the step whose weights were exported.

    Raises :class:`RequestError` when ``out`` holds another training, :class:`TrainFailed` when it cannot go on.
    """
    recipe.check()
    folder = Folder(Path(out).resolve())
    folder.make()
    with folder.locked():
        _claim(recipe, folder)
        if folder.status().get("state") == "done":
            return folder.status()
        return _train(recipe, folder, address)


def _train(recipe: Recipe, folder: Folder, address: str) -> dict[str, Any]:
    found = groups(recipe.data, recipe.columns())
    recipe.check_rows(found)
    rows = sum(found.sizes)
    status = {"kind": recipe.kind, "rows": rows, "steps": recipe.total_steps(rows), "versions": _versions()}
    folder.write_status({"state": "running", **status})
    logger.info("%s rows, %s steps of %s", rows, status["steps"], recipe.batch_size)
    try:
        on_ray = bool(recipe.compute.workers)
        ended = _on_ray(recipe, folder, address) if on_ray else _work(Training(recipe, folder, alone(recipe)))
    except BaseException as error:
        folder.write_status({"state": "failed", **status, "error": str(error)})
        raise
    done = {"state": "done", **status, **ended, "model": str(folder.model)}
    folder.write_status(done)
    return done


def _claim(recipe: Recipe, folder: Folder) -> None:
    """A folder holds one training: other settings want another folder."""
    before = folder.recipe()
    if before is not None:
        other = same(recipe, validate_recipe(before, str(folder.root / "recipe.yaml")))
        if other:
            raise RequestError(
                f"{folder.root} holds a training with other settings ({', '.join(other)}); give another --out, or the "
                "same recipe to go on"
            )
    folder.write_recipe(recipe.model_dump(mode="json"))


def validate_recipe(tree: dict[str, Any], origin: str) -> Recipe:
    """A recipe from a mapping. Raises :class:`RequestError` with every mistake."""
    kind = tree.get("kind")
    if kind not in RECIPES:
        raise RequestError(f"{origin}: kind: {kind!r} is no trainer; there are {', '.join(RECIPES)}")
    return validate(RECIPES[kind], tree, origin)


def find_recipe(name: str) -> Path:
    """A recipe's file: a path, or the name of a shipped recipe. Raises :class:`RequestError` that lists those."""
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_recipes()
    if name not in shipped:
        raise RequestError(f"no recipe {name!r}: give a YAML file or one of {', '.join(shipped)}")
    return shipped[name]


def load_recipe(path: Path, overrides: list[str]) -> Recipe:
    """The recipe in a YAML file with ``a.b=value`` overrides. Raises :class:`RequestError` with every mistake."""
    return validate_recipe(override(read_yaml(path), overrides), str(path))


def _versions() -> dict[str, str]:
    import torch

    return {"potstill": __version__, "python": platform.python_version(), "torch": torch.__version__}


def _work(training: Training, windows: Iterator[pa.Table] | None = None, report: Any = None) -> dict[str, Any]:
    """One worker's part, and the export."""
    metrics = training.run(windows or training.local(), report or (lambda _: None))
    return {"metrics": metrics, "exported_step": training.export()}


def _on_ray(recipe: Recipe, folder: Folder, address: str) -> dict[str, Any]:
    """The same on the workers of Ray Train."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from potstill.models.ray_session import session
    from potstill.models.trainers.ingest import Ingest, windows

    with session(address, spare_cpus=2):
        compute = recipe.compute
        _enough(recipe)
        resources = {"CPU": compute.cpus} | ({"GPU": 1.0} if compute.gpu else {})
        scaling = ScalingConfig(num_workers=compute.workers, use_gpu=compute.gpu, resources_per_worker=resources)
        failures = FailureConfig(max_failures=compute.max_failures)
        told = {"recipe": recipe.model_dump(mode="json"), "folder": str(folder.root)}
        name = f"{folder.root.name}-{len(list((folder.root / 'ray').glob('*')))}"
        trainer = TorchTrainer(
            worker,
            train_loop_config=told,
            scaling_config=scaling,
            run_config=RunConfig(name=name, storage_path=str(folder.root / "ray"), failure_config=failures),
            datasets={"train": lambda: windows(recipe, folder)},
            dataset_config=Ingest(),
        )
        try:
            trainer.fit()
        except Exception as error:
            raise TrainFailed(_reason(error)) from error
    return folder.ended()


def worker(told: dict[str, Any]) -> None:
    """The loop of one worker of Ray Train."""
    import ray.train

    recipe, folder = validate_recipe(told["recipe"], "recipe"), Folder(Path(told["folder"]))
    training = Training(recipe, folder, grouped(recipe))
    shard = ray.train.get_dataset_shard("train")
    stream = iter(shard.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1))
    ended = _work(training, stream, lambda metrics: ray.train.report(dict(metrics)))
    if ray.train.get_context().get_world_rank() == 0:
        folder.write_ended(ended)


def _enough(recipe: Recipe) -> None:
    """The cluster must have what the workers ask for, and a CPU for reading."""
    import ray

    has, compute = ray.cluster_resources(), recipe.compute
    if compute.gpu and has.get("GPU", 0) < compute.workers:
        raise RequestError(
            f"compute.workers is {compute.workers} with a GPU each, and the cluster has {has.get('GPU', 0):g}; ask for "
            "fewer workers, or set compute.gpu=false"
        )
    if has.get("CPU", 0) < compute.workers * compute.cpus + 1:
        raise RequestError(
            f"{compute.workers} workers with {compute.cpus:g} CPUs and one CPU for reading do not fit a cluster with "
            f"{has.get('CPU', 0):g}; lower compute.workers or compute.cpus"
        )


def _reason(error: BaseException) -> str:
    """The first cause that a worker gave."""
    with suppress(AttributeError):
        failures = error.worker_failures  # pyright: ignore
        first = next(iter(failures.values()))
        return f"a worker failed: {first}"
    return str(error)
