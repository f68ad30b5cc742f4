"""Questions about several pictures: what is in which of them?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from potstill.pipelines.synthesizers.programs.graph import SceneGraph
from potstill.pipelines.synthesizers.programs.question import Question, pick, shuffled
from potstill.pipelines.synthesizers.programs.relations import told
from potstill.pipelines.synthesizers.programs.words import any_of, is_not, is_plural, plural

Graphs = Sequence[SceneGraph]
GroupProgram = Callable[[Graphs, np.random.Generator], Question | None]
"""The graphs of the pictures in their order, and a source of chance -> a question; None where they support none."""


def which_has(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """The only picture in which there is a name."""
    found = [(name, at) for name, at in _presence(graphs) if len(at) == 1]
    chosen = pick(draw, found)
    return _which(f"In which picture {_there(chosen[0])}?", chosen[1][0], graphs) if chosen else None


def which_lacks(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """The only one of three or more pictures in which a name is missing."""
    found = [(name, at) for name, at in _presence(graphs) if len(at) == len(graphs) - 1 > 1]
    chosen = pick(draw, found)
    if chosen is None:
        return None
    missing = next(index for index in range(len(graphs)) if index not in chosen[1])
    return _which(f"In which picture {_there(chosen[0], no=True)}?", missing, graphs)


def in_every(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """Whether a name is in every picture: yes and no as likely, where there are both."""
    found = _presence(graphs)
    both = [[name for name, at in found if (len(at) == len(graphs)) == every] for every in (True, False)]
    sides = [side for side in both if side]
    if not sides:
        return None
    names = pick(draw, sides)
    name = pick(draw, names or ())
    return Question(f"{any_of(name)} in every picture?", "yes" if names is both[0] else "no") if name else None


def in_common(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """The only name that all pictures share; wrong answers are names that one of them lacks."""
    found = _presence(graphs)
    shared = [name for name, at in found if len(at) == len(graphs)]
    if len(shared) != 1 or len(set().union(*(graph.counts for graph in graphs))) != len(found):
        return None
    wrong = [name for name, at in found if len(at) < len(graphs)]
    return Question("What can be seen in every one of the pictures?", shared[0], tuple(shuffled(draw, wrong)))


def only_in_one(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """The only name that one picture has and no other one."""
    found = _presence(graphs)
    own = [[name for name, at in found if at == (index,)] for index in range(len(graphs))]
    unsure = set().union(*(graph.counts for graph in graphs)) - {name for name, _ in found}
    fits = [i for i, names in enumerate(own) if len(names) == 1 and unsure.isdisjoint(graphs[i].counts)]
    index = pick(draw, fits)
    if index is None:
        return None
    wrong = tuple(name for name, at in found if at != (index,))
    return Question(f"What can be seen in {_picture(index)} and in no other one?", own[index][0], wrong)


def how_many_pictures(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """The number of pictures in which there is a name."""
    chosen = pick(draw, _presence(graphs))
    if chosen is None:
        return None
    wrong = tuple(str(count) for count in range(len(graphs) + 1) if count != len(chosen[1]))
    return Question(f"In how many of the {len(graphs)} pictures {_there(chosen[0])}?", str(len(chosen[1])), wrong)


def which_attribute_holds(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """The only picture in which a thing has an attribute that its namesakes elsewhere surely lack."""
    found = []
    for name, at in _presence(graphs):
        things = {index: [thing for thing in graphs[index].things if thing.name == name] for index in at}
        if len(at) < 2 or any(len(each) > 1 for each in things.values()):
            continue
        for index in at:
            others = [things[other][0] for other in at if other != index]
            words = sorted(word for word in things[index][0].attributes if " " not in word)
            found += [(name, word, index) for word in words if all(is_not(other, word) for other in others)]
    chosen = pick(draw, found)
    return _which(f"In which picture is the {chosen[0]} {chosen[1]}?", chosen[2], graphs) if chosen else None


def which_relation_holds(graphs: Graphs, draw: np.random.Generator) -> Question | None:
    """The only picture in which one thing stands in a relation to another: elsewhere one of the two is missing."""
    presence = dict(_presence(graphs))
    found = []
    for index, graph in enumerate(graphs):
        for start, word, stop in told(graph):
            first, second = graph.things[start].name, graph.things[stop].name
            if first in presence and second in presence and set(presence[first]) & set(presence[second]) == {index}:
                found.append((f"{first} {word} a {second}", index))
    chosen = pick(draw, sorted(set(found)))
    return _which(f"Which picture shows this: a {chosen[0]}?", chosen[1], graphs) if chosen else None


def _presence(graphs: Graphs) -> list[tuple[str, tuple[int, ...]]]:
    """Names, in order, with the pictures that have them, where every other picture surely does not."""
    return [
        (name, tuple(index for index, graph in enumerate(graphs) if name in graph.counts))
        for name in sorted(set().union(*(graph.counts for graph in graphs)))
        if all(name in graph.counts or lacks(graph, name) for graph in graphs)
    ]


def lacks(graph: SceneGraph, name: str) -> bool:
    """Whether nothing in the picture has a name that shares a word with this one, be it in the plural."""
    words = {*name.split(), *plural(name).split()}
    return words.isdisjoint(word for other in graph.counts for word in (*other.split(), *plural(other).split()))


def _there(name: str, *, no: bool = False) -> str:
    """``is there a dog``, ``are there no trees``."""
    if no:
        return f"{'are' if is_plural(name) else 'is'} there no {name}"
    words = any_of(name)
    return words[0].lower() + words[1:]


def _picture(index: int) -> str:
    return f"picture {index + 1}"


def _which(text: str, index: int, graphs: Iterable[SceneGraph]) -> Question:
    return Question(text, _picture(index), tuple(_picture(other) for other, _ in enumerate(graphs) if other != index))
