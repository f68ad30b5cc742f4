"""Questions about several pictures: how many are there, here and there?"""

from __future__ import annotations

import numpy as np

from potstill.pipelines.synthesizers.programs.across_names import Graphs, lacks
from potstill.pipelines.synthesizers.programs.counting import countable
from potstill.pipelines.synthesizers.programs.question import Question, pick, shuffled
from potstill.pipelines.synthesizers.programs.words import plural


def count_together(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """How many things of a name there are in all pictures together."""
    name = pick(draw, _counted(graphs, least=2))
    if name is None:
        return None
    total = sum(graph.counts.get(name, 0) for graph in graphs)
    wrong = tuple(str(each) for each in range(max(0, total - 2), total + 3) if each != total)
    return Question(f"How many {plural(name)} are there in all pictures together?", str(total), wrong)


def most_of(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """The picture that has more things of a name than any other."""
    found = []
    for name in _counted(graphs):
        counts = [graph.counts.get(name, 0) for graph in graphs]
        if counts.count(max(counts)) == 1:
            found.append((name, counts.index(max(counts))))
    chosen = pick(draw, found)
    if chosen is None:
        return None
    wrong = tuple(f"picture {index + 1}" for index in range(len(graphs)) if index != chosen[1])
    return Question(f"Which picture has the most {plural(chosen[0])}?", f"picture {chosen[1] + 1}", wrong)


def how_many_more(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """By how many the things of a name in one picture exceed those in another."""
    found = [
        (name, more, fewer, graphs[more].counts[name] - graphs[fewer].counts.get(name, 0))
        for name in _counted(graphs)
        for more in range(len(graphs))
        for fewer in range(len(graphs))
        if graphs[more].counts.get(name, 0) > graphs[fewer].counts.get(name, 0)
    ]
    chosen = pick(draw, found)
    if chosen is None:
        return None
    name, more, fewer, by = chosen
    wrong = tuple(str(each) for each in range(max(1, by - 2), by + 3) if each != by)
    text = f"How many more {plural(name)} are in picture {more + 1} than in picture {fewer + 1}?"
    return Question(text, str(by), wrong)


def as_many(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """Whether two pictures have as many things of a name: yes and no as likely, where there are both."""
    found: dict[bool, list[tuple[str, int, int]]] = {True: [], False: []}
    for name in _counted(graphs):
        for one in range(len(graphs)):
            for other in range(one + 1, len(graphs)):
                counts = [graphs[each].counts.get(name, 0) for each in (one, other)]
                if any(counts):
                    found[counts[0] == counts[1]].append((name, one, other))
    same = pick(draw, [same for same, cases in found.items() if cases])
    chosen = pick(draw, found[same]) if same is not None else None
    if chosen is None:
        return None
    name, *both = chosen
    one, other = shuffled(draw, both)
    text = f"Are there as many {plural(name)} in picture {one + 1} as in picture {other + 1}?"
    return Question(text, "yes" if same else "no")


def most_kinds(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """The picture with more kinds of things than any other; every name counts as a kind."""
    kinds = [len(graph.counts) for graph in graphs]
    if kinds.count(max(kinds)) > 1 or any(set(countable(graph)) != set(graph.counts) for graph in graphs):
        return None
    best = kinds.index(max(kinds))
    wrong = tuple(f"picture {index + 1}" for index in range(len(graphs)) if index != best)
    return Question("Which picture shows the most different kinds of things?", f"picture {best + 1}", wrong)


def _counted(graphs: Graphs, least: int = 1) -> list[str]:
    """Names, in order, that can be counted in every picture and are in at least ``least`` of them."""
    names = sorted(set().union(*(graph.counts for graph in graphs)))
    return [
        name
        for name in names
        if sum(name in graph.counts for graph in graphs) >= least
        and all(name in countable(graph) if name in graph.counts else lacks(graph, name) for graph in graphs)
    ]
