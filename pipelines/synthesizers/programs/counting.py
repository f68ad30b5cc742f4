"""How many?"""

from __future__ import annotations

import numpy as np

from potstill.pipelines.synthesizers.programs.graph import SceneGraph
from potstill.pipelines.synthesizers.programs.question import Question, pick, shuffled
from potstill.pipelines.synthesizers.programs.words import is_not, is_plural, plural


def count_objects(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """How many things have a name."""
    name = pick(draw, countable(graph))
    if name is None:
        return None
    return Question(f"How many {plural(name)} are in the picture?", str(graph.counts[name]), _near(graph.counts[name]))


def count_attribute(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """How many things of a name have an attribute; each of them has it or surely lacks it."""
    found = []
    for name in countable(graph):
        things = [thing for thing in graph.things if thing.name == name]
        for word in sorted({word for thing in things for word in thing.attributes if " " not in word}):
            count = sum(word in thing.attributes for thing in things)
            if count < len(things) and all(word in thing.attributes or is_not(thing, word) for thing in things):
                found.append((f"{word} {plural(name)}", count))
    chosen = pick(draw, found)
    if chosen is None:
        return None
    return Question(f"How many {chosen[0]} are in the picture?", str(chosen[1]), _near(chosen[1]))


def more_of(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """Of which of two names there are more."""
    names = countable(graph)
    pairs = [(a, b) for a in names for b in names if graph.counts[a] > graph.counts[b]]
    pair = pick(draw, pairs)
    if pair is None:
        return None
    more, fewer = plural(pair[0]), plural(pair[1])
    first, second = shuffled(draw, (more, fewer))
    return Question(f"Are there more {first} or more {second} in the picture?", f"more {more}", (f"more {fewer}",))


def most_frequent(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """The name that most things have."""
    names = countable(graph)
    if len(names) < 2 or len(names) < len(graph.counts):
        return None
    best = max(names, key=lambda name: graph.counts[name])
    others = tuple(name for name in names if name != best)
    if any(graph.counts[name] == graph.counts[best] for name in others):
        return None
    return Question("What is there most of in the picture?", plural(best), tuple(map(plural, others)))


def countable(graph: SceneGraph) -> list[str]:
    """Names, in order, whose things can be counted: not ``trees``, nor ``tree`` beside ``trees`` or ``palm tree``."""
    return sorted(
        name
        for name in graph.counts
        if not is_plural(name) and plural(name) not in graph.counts and not graph.is_ending(name)
    )


def _near(count: int) -> tuple[str, ...]:
    return tuple(str(each) for each in range(max(0, count - 2), count + 3) if each != count)
