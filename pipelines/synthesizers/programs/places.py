"""Where is it, how large, how far? From boxes and depths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import permutations

import numpy as np

from potstill.pipelines.synthesizers.programs.graph import SceneGraph, Thing
from potstill.pipelines.synthesizers.programs.question import Program, Question, pick, shuffled
from potstill.pipelines.synthesizers.programs.words import listed

LARGER = 1.5
"""Least ratio of two areas to call one larger."""
FARTHER = 1.1
"""Least ratio of two depths to call one farther."""

Before = Callable[[Thing, Thing], bool]
"""Whether one thing surely comes before another."""


def left_or_right(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """On which side of another a thing is; the boxes share no column."""
    return _side(graph, draw, 0, ("left", "right"), "Where can the {} be seen, left or right of the {}?")


def above_or_below(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """Whether a thing is above or below another; the boxes share no row."""
    return _side(graph, draw, 1, ("above", "below"), "Where can the {} be seen, above or below the {}?")


def half(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """In which half of the picture a thing lies as a whole."""
    if graph.width is None:
        return None
    middle, found = graph.width / 2, []
    for index in graph.named:
        box = graph.things[index].box
        if box and (box[2] <= middle or box[0] >= middle):
            found.append((graph.words[index], "left" if box[2] <= middle else "right"))
    chosen = pick(draw, found)
    if chosen is None:
        return None
    words, side = chosen
    text = f"In which half of the picture can the {words} be seen, left or right?"
    return Question(text, side, ("right" if side == "left" else "left",))


def depth_order(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """Three things from near to far."""
    found = shuffled(draw, (index for index in graph.named if graph.things[index].depth is not None))
    chosen: list[int] = []
    for index in found:
        if len(chosen) < 3 and all(_apart(graph.things[index], graph.things[other]) for other in chosen):
            chosen.append(index)
    if len(chosen) < 3:
        return None
    names = [graph.words[index] for index in sorted(chosen, key=lambda index: graph.things[index].depth or 0)]
    right, *wrong = [", ".join(order) for order in permutations(names)]
    asked = ", ".join(f"the {name}" for name in shuffled(draw, names))
    return Question(f"Order these from nearest to farthest: {asked}.", right, tuple(wrong))


def nearer(a: Thing, b: Thing) -> bool:
    """Whether ``a`` is clearly closer to the camera than ``b``."""
    return a.depth is not None and b.depth is not None and a.depth * FARTHER < b.depth


def larger(a: Thing, b: Thing) -> bool:
    """Whether the box of ``a`` is clearly larger than that of ``b``."""
    return a.area > LARGER * b.area > 0


def _apart(a: Thing, b: Thing) -> bool:
    return nearer(a, b) or nearer(b, a)


def _edges(a: Thing, b: Thing, *, axis: int, sign: int) -> bool:
    """Whether both edges of ``a`` along the axis lie before those of ``b``."""
    one, two = a.box, b.box
    return one is not None and two is not None and all(sign * one[edge] < sign * two[edge] for edge in (axis, axis + 2))


def _side(
    graph: SceneGraph, draw: np.random.Generator, axis: int, sides: tuple[str, str], text: str
) -> Question | None:
    boxed = [(graph.words[index], box) for index in graph.named if (box := graph.things[index].box)]
    found = [(a, b) for a, one in boxed for b, two in boxed if one[axis + 2] <= two[axis]]
    chosen = pick(draw, found)
    if chosen is None:
        return None
    turned = int(draw.integers(2))
    first, second = chosen if not turned else chosen[::-1]
    return Question(text.format(first, second), sides[turned], (sides[1 - turned],))


def _pair(graph: SceneGraph, draw: np.random.Generator, *, before: Before, text: str) -> Question | None:
    """Which of two things comes before the other."""
    things = graph.things
    pairs = [(a, b) for a in graph.named for b in graph.named if before(things[a], things[b])]
    chosen = pick(draw, pairs)
    if chosen is None:
        return None
    right, wrong = (graph.words[index] for index in chosen)
    names = listed([f"the {name}" for name in shuffled(draw, (right, wrong))])
    return Question(f"{text}, {names}?", right, (wrong,))


def _first(graph: SceneGraph, draw: np.random.Generator, *, before: Before, text: str) -> Question | None:
    """Which thing comes before all others of the graph."""
    things = graph.things
    if len(things) < 2:
        return None
    best = next((a for a in graph.named if all(before(things[a], b) for i, b in enumerate(things) if i != a)), None)
    if best is None:
        return None
    return Question(text, graph.words[best], tuple(graph.words[index] for index in graph.named if index != best))


closer: Program = partial(_pair, before=nearer, text="What is closer to the camera")
bigger: Program = partial(_pair, before=larger, text="What takes up more of the picture")
closest: Program = partial(_first, before=nearer, text="Which thing in the picture is closest to the camera?")
farthest: Program = partial(
    _first, before=lambda a, b: nearer(b, a), text="Which thing in the picture is farthest from the camera?"
)
biggest: Program = partial(_first, before=larger, text="Which thing takes up most of the picture?")
smallest: Program = partial(_first, before=lambda a, b: larger(b, a), text="Which thing takes up least of the picture?")
leftmost: Program = partial(
    _first, before=partial(_edges, axis=0, sign=1), text="Which thing is farthest to the left in the picture?"
)
rightmost: Program = partial(
    _first, before=partial(_edges, axis=0, sign=-1), text="Which thing is farthest to the right in the picture?"
)
topmost: Program = partial(
    _first, before=partial(_edges, axis=1, sign=1), text="Which thing is highest up in the picture?"
)
bottommost: Program = partial(
    _first, before=partial(_edges, axis=1, sign=-1), text="Which thing is lowest down in the picture?"
)
