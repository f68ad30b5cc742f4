"""Reading scene graphs: both forms, what is refused and with which words, and how things are named."""

import json

import pytest

from potstill.pipelines.synthesizers.programs.graph import BadGraph, SceneGraph, Thing, parse


def read(objects, key=None, **more):
    return parse(json.dumps({"objects": objects, **more}), key)


def refused(text, key=None):
    with pytest.raises(BadGraph) as caught:
        parse(text if isinstance(text, str) else json.dumps(text), key)
    assert "correct the graph, or leave the row out" in str(caught.value)
    return str(caught.value)


def test_our_own_form():
    graph = read(
        [{"name": " Red  Dog", "attributes": ["Wet"], "bbox": [1, 2, 3, 5], "depth": 2}, {"id": "c", "name": "cat"}],
        relations=[{"subject": 0, "predicate": "next  to", "object": "c"}],
        width=40,
        height=30,
    )
    dog = Thing("red dog", frozenset({"wet"}), (1, 2, 3, 5), 2)
    assert graph == SceneGraph((dog, Thing("cat")), ((0, "next to", 1),), 40)
    assert dog.area == 6


def test_the_form_of_gqa():
    objects = {
        "12": {"name": "dog", "x": 1, "y": 2, "w": 2, "h": 3, "relations": [{"name": "on", "object": "7"}]},
        "7": {"name": "mat", "attributes": []},
    }
    assert read(objects) == SceneGraph((Thing("dog", box=(1, 2, 3, 5)), Thing("mat")), ((0, "on", 1),))


def test_a_graph_may_stand_under_a_key_also_as_text():
    tree = {"objects": [{"name": "dog"}]}
    whole = parse(json.dumps(tree))
    assert parse(json.dumps({"graph": tree, "other": 1}), "graph") == whole
    assert parse(json.dumps({"graph": json.dumps(tree)}), "graph") == whole


@pytest.mark.parametrize("text", [None, "null", "{}", '{"file": "a.jpg"}'])
def test_where_there_is_no_graph_there_is_none(text):
    assert parse(text) is None
    assert parse(text, "graph") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be JSON"),
        ('{"objects": [{"name": "do', "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ("[1]", "found a list"),
        ({"objects": 3}, "objects: Input should be a valid tuple"),
        ({"objects": [{"attributes": []}]}, "objects.0.name: Field required"),
        ({"objects": [{"name": ""}]}, "objects.0.name"),
        ({"objects": [{"name": "..."}]}, "'...' is no name"),
        ({"objects": [{"name": "a\u202edog"}]}, "is no name"),
        ({"objects": [{"name": "x" * 101}]}, "at most 100 characters"),
        ({"objects": [{"name": "dog"}] * 501}, "at most 500 items"),
        ({"objects": [{"name": "dog", "bbox": [3, 0, 3, 9]}]}, "the box (3.0, 0.0, 3.0, 9.0) of 'dog' is empty"),
        ({"objects": [{"name": "dog", "bbox": [1, 2, 3]}]}, "objects.0.bbox"),
        ('{"objects": [{"name": "dog", "depth": NaN}]}', "objects.0.depth"),
        ({"objects": [{"name": "dog", "depth": -1}]}, "greater than or equal to 0 (got -1)"),
        ({"objects": [{"name": "a", "id": 1}, {"name": "b", "id": "1"}]}, "several objects have the id '1'"),
        (
            {"objects": [{"name": "a"}], "relations": [{"subject": 0, "predicate": "on", "object": 9}]},
            "names the object '9', which is not among 1 objects",
        ),
    ],
)
def test_what_is_refused(text, words):
    assert words in refused(text)


def test_messages_do_not_grow_with_the_graph():
    assert len(refused({"objects": [{"name": "x" * 10**6}]})) < 400
    assert len(refused("x" * 10**6)) < 400


def test_a_thing_is_known_by_its_name_or_by_an_attribute_that_it_alone_has():
    def words(*things):
        return read([{"name": name, "attributes": attributes} for name, attributes in things]).words

    assert words(("dog", ["red"]), ("cat", [])) == ("dog", "cat")
    assert words(("dog", ["red", "wet"]), ("dog", ["red"]), ("dog", ["old"])) == ("wet dog", "", "old dog")
    assert words(("dog", ["red"]), ("dog", ["in the sun"])) == ("red dog", "")
    assert words(("dog", ["red"]), ("red dog", []), ("dog", ["wet"])) == ("", "", "")
    assert words(("dog", ["old"]), ("guide dog", [])) == ("", "guide dog")
