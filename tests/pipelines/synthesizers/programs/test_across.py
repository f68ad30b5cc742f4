"""Questions about several pictures: answers are right by a second reading of the question, wrong ones are wrong."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potstill.pipelines.synthesizers.programs.across_names import lacks
from potstill.pipelines.synthesizers.programs.catalogue import GROUP_PROGRAMS
from potstill.pipelines.synthesizers.programs.graph import parse

NAMES = ("dog", "cat", "lamp", "guide dog", "trees", "box")
SINGULAR = {"dogs": "dog", "cats": "cat", "lamps": "lamp", "guide dogs": "guide dog", "boxes": "box"}


def graphs(trees):
    return [parse(json.dumps(tree)) for tree in trees]


def asked(trees, name, seed=0):
    return GROUP_PROGRAMS[name](graphs(trees), np.random.default_rng(seed))


thing = st.builds(
    lambda name, colour: {"name": name, "attributes": [colour] if colour else []},
    st.sampled_from(NAMES),
    st.sampled_from(["red", "blue", None]),
)
TREES = st.lists(st.builds(lambda things: {"objects": things}, st.lists(thing, max_size=4)), min_size=2, max_size=4)


def number(text):
    return int(text.removeprefix("picture ")) - 1


def right(trees, name, text, answer):
    """The question read anew from its words and the raw trees."""
    names = [[each["name"] for each in tree["objects"]] for tree in trees]

    def found(pattern):
        return re.fullmatch(pattern, text).groups()

    def having(what):
        return [index for index, here in enumerate(names) if what in here]

    match name:
        case "which_has":
            (what,) = found(r"In which picture (?:is there an?|are there any) (.+)\?")
            return having(what) == [number(answer)]
        case "which_lacks":
            (what,) = found(r"In which picture (?:is|are) there no (.+)\?")
            return sorted({*range(len(names))} - {*having(what)}) == [number(answer)]
        case "in_every":
            (what,) = found(r"(?:Is there an?|Are there any) (.+) in every picture\?")
            return (len(having(what)) == len(names)) == (answer == "yes")
        case "in_common":
            return len(having(answer)) == len(names)
        case "only_in_one":
            (index,) = found(r"What can be seen in picture (\d) and in no other one\?")
            return having(answer) == [int(index) - 1]
        case "how_many_pictures":
            count, what = found(r"In how many of the (\d) pictures (?:is there an?|are there any) (.+)\?")
            return int(count) == len(names) and len(having(what)) == int(answer)
        case "which_attribute_holds":
            what, colour = found(r"In which picture is the (.+) (red|blue)\?")
            which = [
                index
                for index, tree in enumerate(trees)
                if any(each["name"] == what and colour in each["attributes"] for each in tree["objects"])
            ]
            return which == [number(answer)]
        case "count_together":
            (what,) = found(r"How many (.+) are there in all pictures together\?")
            return sum(here.count(SINGULAR[what]) for here in names) == int(answer)
        case "most_of":
            (what,) = found(r"Which picture has the most (.+)\?")
            counts = [here.count(SINGULAR[what]) for here in names]
            return counts.count(max(counts)) == 1 and counts[number(answer)] == max(counts)
        case "how_many_more":
            what, more, fewer = found(r"How many more (.+) are in picture (\d) than in picture (\d)\?")
            counts = [here.count(SINGULAR[what]) for here in names]
            return counts[int(more) - 1] - counts[int(fewer) - 1] == int(answer) > 0
        case "as_many":
            what, one, other = found(r"Are there as many (.+) in picture (\d) as in picture (\d)\?")
            counts = [here.count(SINGULAR[what]) for here in names]
            return (counts[int(one) - 1] == counts[int(other) - 1]) == (answer == "yes")
        case "most_kinds":
            kinds = [len(set(here)) for here in names]
            return kinds.count(max(kinds)) == 1 and kinds[number(answer)] == max(kinds)
    raise AssertionError(name)


def test_there_are_more_than_ten():
    assert len(GROUP_PROGRAMS) == 13


@settings(max_examples=200, deadline=None)
@given(TREES, st.integers(0, 2**32))
def test_each_answer_is_right_and_each_wrong_option_is_not(trees, seed):
    for name in GROUP_PROGRAMS:
        question = asked(trees, name, seed)
        assert question == asked(trees, name, seed)
        if question is None:
            continue
        assert right(trees, name, question.text, question.answer), (name, question)
        assert question.answer not in question.wrong
        assert len(set(question.wrong)) == len(question.wrong)
        for wrong in question.wrong:
            assert not right(trees, name, question.text, wrong), (name, question, wrong)


def scene(*things, relations=()):
    objects = [{"name": each.split()[-1], "attributes": each.split()[:-1]} for each in things]
    return {
        "objects": objects,
        "relations": [dict(zip(("subject", "predicate", "object"), r, strict=True)) for r in relations],
    }


RICH = [
    scene("red dog", "cat", "lamp", "lamp", "shelf", relations=[(0, "on", 1)]),
    scene("blue dog", "lamp", "lamp", "lamp", "box"),
    scene("cat", "lamp", "lamp"),
]


@pytest.mark.parametrize("name", GROUP_PROGRAMS)
def test_each_program_finds_something_to_ask(name):
    assert all(asked(RICH, name, seed) is not None for seed in range(5))


@pytest.mark.parametrize("name", GROUP_PROGRAMS)
def test_empty_pictures_are_asked_nothing(name):
    assert asked([{"objects": []}, {"objects": []}], name) is None


def test_by_hand():
    assert asked(RICH, "in_common").answer == "lamp"
    assert asked(RICH, "most_kinds").answer == "picture 1"
    assert asked(RICH, "which_relation_holds").text == "Which picture shows this: a dog on a cat?"
    assert asked(RICH, "which_relation_holds").answer == "picture 1"
    attribute = asked(RICH, "which_attribute_holds", 3)
    assert (attribute.text, attribute.answer) in [
        ("In which picture is the dog red?", "picture 1"), ("In which picture is the dog blue?", "picture 2")
    ]  # fmt: skip
    assert {asked(RICH, "in_every", seed).answer for seed in range(20)} == {"yes", "no"}
    assert {asked(RICH, "as_many", seed).answer for seed in range(20)} == {"yes", "no"}


def test_what_is_not_sure_is_not_asked():
    assert asked([scene("dog"), {"objects": [{"name": "guide dog"}]}], "which_has") is None
    assert asked([scene("trees"), scene("tree")], "count_together") is None
    assert asked([scene("dog"), scene("red dog")], "which_attribute_holds") is None
    both = [scene("dog", "cat", relations=[(0, "on", 1)]), scene("dog", "cat")]
    assert asked(both, "which_relation_holds") is None


def test_a_picture_lacks_a_name_when_nothing_there_shares_a_word_with_it():
    graph = parse(json.dumps({"objects": [{"name": "guide dog"}, {"name": "trees"}]}))
    assert lacks(graph, "cat")
    assert not lacks(graph, "dog")
    assert not lacks(graph, "tree")
    assert not lacks(graph, "trees")
