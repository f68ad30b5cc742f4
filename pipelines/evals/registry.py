"""Every kind of evaluation that a recipe may name, and how a recipe is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from potstill.config import RequestError, override, read_yaml, validate
from potstill.pipelines.evals.classifier import ClassifierEvaluation
from potstill.pipelines.evals.clip import ClipEvaluation
from potstill.pipelines.evals.evaluation import Evaluation
from potstill.pipelines.evals.judge import JudgeEvaluation
from potstill.pipelines.evals.vlm import VlmEvaluation

EVALUATIONS: dict[str, type[Evaluation]] = {
    each.model_fields["kind"].default: each
    for each in (
        ClipEvaluation,
        VlmEvaluation,
        ClassifierEvaluation,
        JudgeEvaluation,
    )
}
"""Evaluations by their kind."""


def load_evaluation(recipe: str, overrides: Sequence[str] = ()) -> Evaluation:
    """The evaluation in a YAML file, or of a kind alone, with ``a.b=value`` overrides.

    Raises :class:`RequestError` with every mistake.
    """
    kinds = ", ".join(EVALUATIONS)
    tree: dict[str, Any]
    if recipe in EVALUATIONS:
        tree = {"kind": recipe}
    elif Path(recipe).is_file():
        tree = read_yaml(Path(recipe))
    else:
        raise RequestError(f"no recipe {recipe!r}: give a YAML file, or a kind ({kinds}) and its settings as key=value")
    tree = override(tree, overrides)
    kind = tree.get("kind")
    if not isinstance(kind, str) or kind not in EVALUATIONS:
        raise RequestError(f"{recipe}: kind is {kind!r}; give one of {kinds}")
    return validate(EVALUATIONS[kind], tree, recipe)
