"""Whatever the graph: each answer is right, each wrong option is wrong, and each program is reached."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from potstill.pipelines.synthesizers.programs.catalogue import PROGRAMS
from potstill.pipelines.synthesizers.programs.graph import parse
from potstill.pipelines.synthesizers.programs.question import options, with_options
from tests.pipelines.synthesizers.programs.graphs import Judge, trees

RICH = {
    "width": 100,
    "objects": [
        {"name": "dog", "attributes": ["red", "small"], "bbox": [0, 0, 20, 20], "depth": 1},
        {"name": "dog", "attributes": ["blue", "large"], "bbox": [30, 10, 45, 30], "depth": 2},
        {"name": "chair", "attributes": ["red"], "bbox": [30, 40, 90, 90], "depth": 4},
        {"name": "table", "attributes": ["blue"], "bbox": [60, 20, 99, 30], "depth": 8},
        {"name": "lamp", "attributes": ["red", "open"], "bbox": [95, 92, 100, 95], "depth": 16},
    ],
    "relations": [
        {"subject": 0, "predicate": "on", "object": 2},
        {"subject": 2, "predicate": "under", "object": 3},
        {"subject": 4, "predicate": "near", "object": 2},
    ],
}


def asked(tree, name, seed=0):
    return PROGRAMS[name](parse(json.dumps(tree)), np.random.default_rng(seed))


def test_there_are_at_least_twenty_and_the_judge_knows_them_all():
    assert len(PROGRAMS) == 33
    assert all(hasattr(Judge, name) for name in PROGRAMS)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(trees(), st.integers(0, 2**32))
def test_each_answer_is_right_and_each_wrong_option_is_not(tree, seed):
    judge = Judge(tree)
    for name in PROGRAMS:
        question = asked(tree, name, seed)
        assert asked(tree, name, seed) == question
        if question is None:
            continue
        assert judge.right(name, question.text, question.answer), (name, question)
        assert question.answer not in question.wrong
        assert len(set(question.wrong)) == len(question.wrong)
        for wrong in question.wrong:
            assert not judge.right(name, question.text, wrong), (name, question, wrong)


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_finds_something_to_ask_and_asks_different_things(name):
    found = {asked(RICH, name, seed) for seed in range(30)}
    assert None not in found
    assert all(Judge(RICH).right(name, each.text, each.answer) for each in found)
    if name not in ("most_frequent", "biggest", "smallest", "closest", "farthest"):
        assert len(found) > 1 or name.endswith("most")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_graph_without_things_is_asked_nothing(name):
    assert asked({"objects": []}, name) is None


def test_by_hand():
    assert asked(RICH, "most_frequent").answer == "dogs"
    assert asked(RICH, "closest").answer == "red dog"
    assert asked(RICH, "farthest").answer == asked(RICH, "smallest").answer == "lamp"
    assert asked(RICH, "biggest").answer == "chair"
    assert asked(RICH, "two_relations").text.endswith('"the red dog on the chair, and the chair under the ___"?')
    assert asked(RICH, "two_relations").answer == "table"


def test_what_is_not_sure_is_not_asked():
    two = {"objects": [{"name": "dog", "attributes": ["red"]}, {"name": "dog"}]}
    assert asked(two, "count_attribute") is asked(two, "attribute_absent") is asked(two, "colour_of") is None
    assert asked({"objects": [{"name": "trees"}]}, "count_objects") is None
    assert asked({"objects": [{"name": "tree"}, {"name": "palm tree"}]}, "count_objects", 1).answer == "1"
    assert asked({"objects": [{"name": "tree"}, {"name": "palm tree"}]}, "count_objects", 1).text.startswith(
        "How many palm"
    )
    mutual = {
        "objects": [{"name": "dog"}, {"name": "cat"}],
        "relations": [{"subject": 0, "predicate": "near", "object": 1}],
    }
    assert asked(mutual, "relation_direction") is None


def test_multiple_choice_has_the_answer_once_among_at_most_four():
    question = asked(RICH, "count_objects")
    for seed in range(20):
        choices = options(question, np.random.default_rng(seed))
        assert len(choices) == len(set(choices)) == 4
        text, answer = with_options(question, choices)
        assert text.splitlines()[1:] == [f"{letter}. {each}" for letter, each in zip("ABCD", choices, strict=True)]
        assert answer in text.splitlines()
        assert answer[3:] == question.answer
