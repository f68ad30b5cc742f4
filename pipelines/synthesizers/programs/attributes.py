"""What is it like?"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from potstill.pipelines.synthesizers.programs.graph import SceneGraph
from potstill.pipelines.synthesizers.programs.question import Question, pick, shuffled
from potstill.pipelines.synthesizers.programs.words import COLOURS, is_not, listed, rivals


def colour_of(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """The colour of a thing that has just one."""
    found = []
    for index in graph.named:
        colours = graph.things[index].attributes.intersection(COLOURS)
        if len(colours) == 1 and not graph.words[index].startswith(tuple(colours)):
            found.append((graph.words[index], *colours))
    chosen = pick(draw, found)
    if chosen is None:
        return None
    words, colour = chosen
    return Question(f"Which colour can be seen on the {words}?", colour, rivals(colour))


def which_attribute(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """Of two attributes the one that a thing has; it surely lacks the other."""
    found = [
        (graph.words[index], word, rival)
        for index in graph.named
        for word in sorted(graph.things[index].attributes)
        if not graph.words[index].startswith(word)
        for rival in rivals(word)
        if is_not(graph.things[index], rival)
    ]
    chosen = pick(draw, found)
    if chosen is None:
        return None
    words, right, wrong = chosen
    return Question(f"Which word describes the {words}: {listed(shuffled(draw, (right, wrong)))}?", right, (wrong,))


def object_by_attribute(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """Of two or three things the one that has an attribute; the others surely lack it."""
    found = []
    for index in graph.named:
        for word in sorted(graph.things[index].attributes):
            others = [other for other in graph.named if is_not(graph.things[other], word)]
            if others and word not in graph.words[index].split():
                found.append((word, index, others))
    chosen = pick(draw, found)
    if chosen is None:
        return None
    word, index, others = chosen
    right, wrong = graph.words[index], tuple(graph.words[other] for other in shuffled(draw, others)[:2])
    names = listed([f"the {name}" for name in shuffled(draw, (right, *wrong))])
    return Question(f"Which of these can be called {word}: {names}?", right, wrong)


def shared_attribute(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """The attribute that two things have, beside one that one of them surely lacks."""
    found = []
    for a, b in combinations(graph.named, 2):
        one, two = graph.things[a], graph.things[b]
        for word in sorted(one.attributes & two.attributes):
            wrong = [rival for rival in rivals(word) if is_not(one, rival) or is_not(two, rival)]
            if wrong and not {word} & {*graph.words[a].split(), *graph.words[b].split()}:
                found.append((graph.words[a], graph.words[b], word, wrong))
    chosen = pick(draw, found)
    if chosen is None:
        return None
    a, b, word, wrong = chosen
    other = shuffled(draw, wrong)[0]
    choice = listed(shuffled(draw, (word, other)))
    return Question(f"Which word describes both the {a} and the {b}: {choice}?", word, (other,))


def odd_one(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """Of three or four things the one that surely lacks an attribute which the others have."""
    found = []
    for word in sorted({word for thing in graph.things for word in thing.attributes}):
        having = [i for i in graph.named if word in graph.things[i].attributes and word not in graph.words[i].split()]
        lacking = [i for i in graph.named if is_not(graph.things[i], word)]
        if len(having) > 1 and lacking:
            found.append((word, having, lacking))
    chosen = pick(draw, found)
    if chosen is None:
        return None
    word, having, lacking = chosen
    wrong = tuple(graph.words[i] for i in shuffled(draw, having)[:3])
    odd = graph.words[shuffled(draw, lacking)[0]]
    names = listed([f"the {name}" for name in shuffled(draw, (*wrong, odd))])
    return Question(f"All but one of these can be called {word}. Which one cannot: {names}?", odd, wrong)
