"""The commands that make and measure models."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.config import Interrupted, RequestError


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe: a YAML file, or the name of a shipped recipe.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes to the recipe: data.path=runs/demo.")] = None,
    out: Annotated[str, typer.Option("--out", "-o", help="Folder of the training; every worker must see it.")] = "",
    ray: Annotated[str, typer.Option(help="local, auto, or host:port of a cluster.", envvar="POTSTILL_RAY")] = "",
) -> None:
    """Train a model by a recipe, or go on with a training from its last checkpoint."""
    import os

    from potstill.models.trainers.launch import find_recipe, load_recipe
    from potstill.models.trainers.launch import train as start

    if not out:
        raise RequestError("give a folder for the training: --out DIR")
    loaded = load_recipe(find_recipe(recipe), overrides or [])
    try:
        done = start(loaded, out, ray or ("auto" if os.environ.get("RAY_ADDRESS") else "local"))
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command goes on from the last checkpoint") from None
    print(", ".join(f"{name} {x:.4g}" for name, x in done["metrics"].items()))
    print(f"{done['steps']} steps over {done['rows']} rows; weights of step {done['exported_step']} in {done['model']}")


def evaluate(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or what to measure: clip, vlm, classifier, judge.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings, such as data.path=runs/demo.")] = None,
    out: Annotated[str, typer.Option("--out", "-o", help="Folder for eval.json and eval-rows.parquet.")] = "",
) -> None:
    """Measure a model, or judged scores, on curated rows."""
    from potstill.pipelines.evals.registry import load_evaluation
    from potstill.pipelines.evals.run import evaluate as measure
    from potstill.pipelines.evals.text import lines

    if not out:
        raise RequestError("give a folder for the result: --out DIR")
    for line in lines(measure(load_evaluation(recipe, overrides or []), out), out):
        print(line)
