"""How do they stand to each other, in words?"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from potstill.pipelines.synthesizers.programs.graph import SceneGraph
from potstill.pipelines.synthesizers.programs.question import Question, pick, shuffled
from potstill.pipelines.synthesizers.programs.words import ONE_WAY, listed, opposite

Triple = tuple[int, str, int]
_FILL = "Which thing in the picture fits in the gap:"


def relation(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """The words between two things that stand in one relation only."""
    pairs = Counter((start, stop) for start, _, stop in graph.relations)
    chosen = pick(draw, (each for each in told(graph) if pairs[each[0], each[2]] == 1))
    if chosen is None:
        return None
    start, word, stop = chosen
    other = opposite(word)
    text = f'Which words fit in the gap: "the {graph.words[start]} ___ the {graph.words[stop]}"?'
    return Question(text, word, (other,) if other else ())


def relation_object(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """What a thing stands in a relation to, where that is one thing only."""
    chosen = pick(draw, with_one_object(graph))
    if chosen is None:
        return None
    start, word, stop = chosen
    return Question(f'{_FILL} "the {graph.words[start]} {word} the ___"?', graph.words[stop])


def relation_subject(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """Which thing stands in a relation to another, where that is one thing only."""
    subjects = Counter(each[1:] for each in graph.relations)
    chosen = pick(draw, (each for each in told(graph) if subjects[each[1:]] == 1))
    if chosen is None:
        return None
    start, word, stop = chosen
    return Question(f'{_FILL} "the ___ {word} the {graph.words[stop]}"?', graph.words[start])


def relation_direction(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """Which way round a relation holds that cannot hold both ways."""
    held = set(graph.relations)
    found = [each for each in told(graph) if each[1] in ONE_WAY and each[::-1] not in held]
    chosen = pick(draw, found)
    if chosen is None:
        return None
    start, word, stop = chosen
    a, b = graph.words[start], graph.words[stop]
    right, wrong = f"the {a} {word} the {b}", f"the {b} {word} the {a}"
    return Question(f"What does the picture show: {listed(shuffled(draw, (right, wrong)))}?", right, (wrong,))


def two_relations(graph: SceneGraph, draw: np.random.Generator) -> Question | None:
    """The end of a chain of two relations over a thing in the middle."""
    into: dict[int, list[Triple]] = defaultdict(list)
    for each in told(graph):
        into[each[2]].append(each)
    chains = [(each, [first for first in into[each[0]] if first[0] != each[2]]) for each in with_one_object(graph)]
    chosen = pick(draw, (chain for chain in chains if chain[1]))
    if chosen is None:
        return None
    (middle, then, stop), firsts = chosen
    start, word, _ = shuffled(draw, firsts)[0]
    chain = f"the {graph.words[start]} {word} the {graph.words[middle]}, and the {graph.words[middle]} {then} the ___"
    return Question(f'{_FILL} "{chain}"?', graph.words[stop])


def told(graph: SceneGraph) -> list[Triple]:
    """Relations between two different things that words can single out."""
    return [each for each in graph.relations if graph.words[each[0]] and graph.words[each[2]] and each[0] != each[2]]


def with_one_object(graph: SceneGraph) -> list[Triple]:
    """Those of :func:`told` whose subject stands in this relation to one thing only."""
    objects = Counter(each[:2] for each in graph.relations)
    return [each for each in told(graph) if objects[each[:2]] == 1]
