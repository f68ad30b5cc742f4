"""JSON replies are read with the types that the plan gives, or are errors that say what is wrong."""

import json
import re

import pyarrow as pa
import pytest

from potstill.pipelines.synthesizers.synthesizer import UnparsableReply
from potstill.pipelines.synthesizers.typed_reply import arrow, model, read, schema

TYPES = {"what": "text", "count": "int", "sure": "float?", "seen": "bool", "parts": "list?", "side": ("left", "right")}
GOOD = '{"what": " a dog ", "count": 2, "seen": true, "side": "left", "more": 1}'
READ = {"what": "a dog", "count": 2, "sure": None, "seen": True, "parts": None, "side": "left"}


@pytest.mark.parametrize(
    "reply", [GOOD, f"```json\n{GOOD}\n```", f"Here {{it}} is: {GOOD} I hope so. {{", f"{{}}{GOOD}"]
)
def test_a_json_object_is_found_and_typed(reply):
    assert read(reply, model(TYPES)) == READ


def test_the_last_object_that_fits_counts():
    assert read('{"n": 1} {"n": 2} {"n": "two"}', model({"n": "int"})) == {"n": 2}
    assert read('{"outer": {"n": 1}, "n": 3}', model({"n": "int"})) == {"n": 3}


@pytest.mark.parametrize(
    ("reply", "types", "message"),
    [
        ("", {"n": "int"}, "no JSON object"),
        ("Es sind zwei.", {"n": "int"}, "no JSON object"),
        ('{"n": 1', {"n": "int"}, "no JSON object"),
        ("{" * 5000, {"n": "int"}, "no JSON object"),
        ('{"a":' * 5000, {"n": "int"}, "no JSON object"),
        ("[1]", {"n": "int"}, "no JSON object"),
        ("{}", {"n": "int"}, "n: Field required"),
        ('{"n": 1.5}', {"n": "int"}, "n: Input should be a valid integer"),
        ('{"n": 9223372036854775808}', {"n": "int"}, "n: Input should be less than"),
        ('{"n": NaN}', {"n": "float"}, "n: Input should be a finite number"),
        ('{"n": ""}', {"n": "text"}, "n: String should have at least 1 character"),
        ('{"n": ["a", 2]}', {"n": "list"}, "n.1: Input should be a valid string"),
        ('{"n": "up"}', {"n": ("left", "right")}, "n: Input should be 'left' or 'right'"),
        ('{"n": null}', {"n": "text"}, "n: Input should be a valid string"),
    ],
)
def test_json_of_another_form_is_refused(reply, types, message):
    with pytest.raises(UnparsableReply) as caught:
        read(reply, model(types))
    assert str(caught.value).startswith(message)


def test_any_field_name_may_be_asked_for():
    names = ("copy", "json", "schema", "model_x", "model_fields", "class")
    reply = "{" + ", ".join(f'"{name}": 1' for name in names) + "}"
    assert read(reply, model(dict.fromkeys(names, "int"))) == dict.fromkeys(names, 1)


OBJECTS = {"dog": {"age": "int", "mood": ("good", "bad")}, "boxes": ({"label": "text", "score": "float?"},)}
TREE = {"dog": {"age": 3, "mood": "good"}, "boxes": [{"label": "tail", "score": None}, {"label": "ear", "score": 0.5}]}


def test_objects_and_lists_of_objects_are_read_with_their_types():
    said = {**TREE, "boxes": [{"label": " tail ", "extra": 1}, TREE["boxes"][1]]}
    assert read(f"So: {json.dumps(said)}", model(OBJECTS)) == TREE
    table = pa.array([TREE["boxes"]], arrow(OBJECTS["boxes"]))
    assert table.to_pylist() == [TREE["boxes"]]
    assert str(arrow(OBJECTS["dog"])) == "struct<age: int64, mood: string>"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dog": {"age": 3}}, "dog.mood: Field required"),
        ({"dog": {"age": 3, "mood": "sad"}}, "dog.mood: Input should be 'good' or 'bad'"),
        ({"boxes": {"label": "x"}}, "boxes: Input should be a valid list"),
        ({"boxes": [{"label": "x"}, {"label": ""}]}, "boxes.1.label: String should have at least 1 character"),
    ],
)
def test_a_mistake_within_an_object_is_named_with_its_place(change, message):
    with pytest.raises(UnparsableReply, match=re.escape(message)):
        read(json.dumps({**TREE, **change}), model(OBJECTS))


def test_the_schema_wants_all_fields_and_no_others():
    assert schema({"n": "int", "side": ("left", "right"), "mood": "text?", "boxes": ({"label": "text"},)}) == {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "side": {"type": "string", "enum": ["left", "right"]},
            "mood": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "boxes": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"label": {"type": "string"}},
                    "required": ["label"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["n", "side", "mood", "boxes"],
        "additionalProperties": False,
    }


def test_columns_have_the_types_of_the_fields():
    kinds = {name: str(arrow(kind)) for name, kind in TYPES.items()}
    assert kinds == {
        "what": "string", "count": "int64", "sure": "double", "seen": "bool", "parts": "list<item: string>",
        "side": "string",
    }  # fmt: skip
