"""Scores of classes against the labels of the rows: the part that every kind of classifier shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from potstill.config import RequestError
from potstill.models.metrics.accuracy import mean_per_class, top_k
from potstill.pipelines.evals.evaluation import Evaluation, Measured, single

TOPS = (1, 5)
"""The k of top-k accuracy, as far as there are more classes."""


def class_numbers(labels: Sequence[Any], classes: Sequence[str]) -> list[int | None]:
    """The number of each label's class: by name, or as a whole number that is no name itself; None for no class."""
    at = {name: place for place, name in enumerate(classes)}

    def number(label: Any) -> int | None:
        whole = isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(classes)
        return None if label is None else at.get(str(label), label if whole else None)

    return [number(label) for label in labels]


def classified(
    evaluation: Evaluation,
    scores: np.ndarray,
    places: Sequence[int | None],
    labels: Sequence[Any],
    classes: Sequence[str],
    prefix: str = "",
) -> tuple[Measured, np.ndarray, np.ndarray]:
    """Top-k accuracy and its mean per class, and what was said of each row.

    ``scores`` (inputs, classes) has a row for each distinct input, ``places`` (rows,) says which is whose (None: it
    failed); rows of one input are drawn together. Also gives the rows that count, as places (n,), and their classes
    (n,). Raises :class:`RequestError` where no label is a class.
    """
    numbers = class_numbers(labels, classes)
    counted = [row for row, place in enumerate(places) if place is not None and numbers[row] is not None]
    at = np.array([places[row] for row in counted], np.int64)
    truth = np.array([numbers[row] for row in counted], np.int64)
    found = Measured(facts={"classes": len(classes)})
    for k in TOPS:
        if k < len(classes):
            name = f"{prefix}top{k}"
            found.metrics[name] = evaluation.mean(name, top_k(scores[at], truth, k), at.tolist())
    found.metrics[f"{prefix}per_class"] = single(mean_per_class(top_k(scores[at], truth), truth), len(counted))
    best = scores.argmax(axis=1) if len(scores) else np.zeros(0, np.int64)
    found.columns = {
        "label": [None if label is None else str(label) for label in labels],
        "predicted": [None if place is None else classes[best[place]] for place in places],
    }
    found.left_out = dict(
        Counter(
            "no label" if label is None else "label not in classes"
            for label, number, place in zip(labels, numbers, places, strict=True)
            if place is not None and number is None
        )
    )
    return found, at, truth


def class_names(classes: Sequence[str] | Mapping[str, str], labels: Sequence[Any], column: str) -> dict[str, str]:
    """Label -> name in prompts: the classes as they are given, or else the labels there are, sorted.

    Raises :class:`RequestError` where no row has a label, or none that is a class.
    """
    said = [label for label in labels if label is not None]
    if not said:
        raise RequestError(f"no row has a label in {column!r}; name another column")
    given = classes or sorted({str(label) for label in said})
    names = dict(given) if isinstance(given, Mapping) else {name: name for name in given}
    if all(number is None for number in class_numbers(said, list(names))):
        raise RequestError(
            f"no label in {column!r} is one of the {len(names)} classes; the first label is {said[0]!r}, the first "
            f"class {next(iter(names))!r}"
        )
    return names
