"""A question with its answer, and how a program draws among several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from potstill.pipelines.synthesizers.programs.graph import SceneGraph

LETTERS = "ABCD"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the right answer, and wrong answers to choose among, if there are any that are surely wrong."""

    text: str
    answer: str
    wrong: tuple[str, ...] = ()


Program = Callable[[SceneGraph, np.random.Generator], Question | None]
"""Graph and source of chance -> a question that the graph answers; None where it supports none of this kind."""


def pick(draw: np.random.Generator, items: Iterable[T]) -> T | None:
    """One of the items, each as likely; None if there are none."""
    items = list(items)
    return items[int(draw.integers(len(items)))] if items else None


def shuffled(draw: np.random.Generator, items: Iterable[T]) -> list[T]:
    """The items in an order drawn at random."""
    items = list(items)
    return [items[int(index)] for index in draw.permutation(len(items))]


def options(question: Question, draw: np.random.Generator) -> list[str]:
    """The answer and up to three wrong ones, in an order drawn at random."""
    return shuffled(draw, [question.answer, *shuffled(draw, question.wrong)[: len(LETTERS) - 1]])


def with_options(question: Question, choices: Sequence[str]) -> tuple[str, str]:
    """Text and answer of the question as multiple choice: one lettered line for each of the ``choices``."""
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    return "\n".join([question.text, *lines]), lines[list(choices).index(question.answer)]
