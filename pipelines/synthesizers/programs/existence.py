"""Is it there?"""

from __future__ import annotations

import numpy as np

from potstill.pipelines.synthesizers.programs.graph import SceneGraph
from potstill.pipelines.synthesizers.programs.question import Question, pick, shuffled
from potstill.pipelines.synthesizers.programs.words import ABSENT, any_of, is_not, is_plural, rivals


def object_present(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """A name that some thing has: yes."""
    name = pick(draw, sorted(graph.counts))
    return Question(f"{any_of(name)} in the picture?", "yes") if name else None


def object_absent(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """A name that no thing has: no."""
    name = pick(draw, absent(graph))
    return Question(f"{any_of(name)} in the picture?", "no") if name and graph.things else None


def both_present(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """Two names: yes if things have both, no if nothing has the second; both as likely."""
    here, there = shuffled(draw, sorted(graph.counts)), absent(graph)
    if not here:
        return None
    if len(here) > 1 and draw.random() < 0.5:
        return Question(f"Can both {here[0]} and {here[1]} be seen in the picture?", "yes")
    other = pick(draw, there)
    return Question(f"Can both {here[0]} and {other} be seen in the picture?", "no") if other else None


def attribute_present(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """An attribute and a name that one thing has together: yes."""
    words = pick(draw, sorted({phrase for thing in graph.things for phrase in thing.phrases}))
    return Question(f"{any_of(words)} in the picture?", "yes") if words else None


def attribute_absent(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """An attribute that all things of the name surely lack: no."""
    pairs = []
    for name in (name for name in sorted(graph.counts) if not graph.is_ending(name)):
        things = [thing for thing in graph.things if thing.name == name]
        words = {rival for thing in things for word in thing.attributes for rival in rivals(word)}
        pairs += [f"{word} {name}" for word in sorted(words) if all(is_not(thing, word) for thing in things)]
    words = pick(draw, (pair for pair in pairs if not is_plural(pair) and pair not in graph.counts))
    return Question(f"{any_of(words)} in the picture?", "no") if words else None


def absent(graph: SceneGraph) -> list[str]:
    """Names of :data:`ABSENT` that share no word with any name of the graph."""
    here = {word for name in graph.counts for word in name.split()}
    return [name for name in ABSENT if here.isdisjoint(name.split()) and not any(name in each for each in here)]
