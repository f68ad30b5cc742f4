"""Rows become conversations, whichever way they were written."""

import io
import json

import pytest
from PIL import Image

from potstill.models.trainers.conversations import asked, pictures, read

IMAGE = {"type": "image"}


def text(words):
    return {"type": "text", "text": words}


def user(*parts):
    return {"role": "user", "content": list(parts)}


def assistant(words):
    return {"role": "assistant", "content": [text(words)]}


def test_a_question_stands_after_its_pictures():
    assert asked("What?", "A dog.", None, 2) == [user(IMAGE, IMAGE, text("What?")), assistant("A dog.")]


def test_without_a_question_the_picture_asks_and_without_an_answer_nobody_answers():
    assert asked(None, "A dog.", None, 1) == [user(IMAGE), assistant("A dog.")]
    assert asked("What?", None, None, 0) == [user(text("What?"))]


LLAVA = [
    {"from": "human", "value": "<image>\nWhat?"},
    {"from": "gpt", "value": "A dog."},
    {"from": "human", "value": "How many?"},
    {"from": "gpt", "value": "One."},
]
CHAT = [
    {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "What?"}]},
    {"role": "assistant", "content": "A dog."},
    {"role": "user", "content": "How many?"},
    {"role": "assistant", "content": "One."},
]
READ = [user(IMAGE, text("What?")), assistant("A dog."), user(text("How many?")), assistant("One.")]


@pytest.mark.parametrize("value", [LLAVA, json.dumps(LLAVA), CHAT, json.dumps(CHAT)])
def test_both_ways_of_writing_conversations_are_read(value):
    assert read(value, None, 1) == READ


def test_columns_of_structs_with_all_four_fields_are_read():
    both = [{"from": None, "value": None, **turn} for turn in CHAT]
    assert read(both, None, 1) == READ


def test_a_mark_may_stand_anywhere():
    turns = [{"from": "human", "value": "Compare <image>\nwith\n<image>"}, {"from": "gpt", "value": "Same."}]
    assert read(turns, None, 2)[0] == user(text("Compare "), IMAGE, text("with"), IMAGE)


def test_a_picture_that_no_turn_marks_stands_first():
    turns = [{"from": "system", "value": "Be short."}, {"from": "human", "value": "What?"}, LLAVA[1]]
    system = {"role": "system", "content": [text("Be short.")]}
    assert read(turns, "Another", 1) == [system, user(IMAGE, text("What?")), assistant("A dog.")]


def test_the_system_speaks_first_and_what_follows_the_last_answer_goes():
    assert read([*LLAVA, {"from": "human", "value": "And?"}], "Be short.", 1) == [
        {"role": "system", "content": [text("Be short.")]},
        *READ,
    ]


def test_an_empty_conversation_shows_the_picture():
    assert read([], None, 1) == read(None, None, 1) == [user(IMAGE)]


@pytest.mark.parametrize(
    ("value", "count", "message"),
    [
        (LLAVA, 2, "marks 1 pictures and the row has 2"),
        ([{"from": "human", "value": "<image>"}, *LLAVA], 1, "marks 2 pictures and the row has 1"),
        ([{"from": "bot", "value": "x"}], 0, "from 'bot', which is none of human"),
        (["x"], 0, "from and value, or role and content; this one is 'x'"),
        ([{"role": "user", "content": [{"type": "audio"}]}], 0, "type 'audio'"),
        ([*LLAVA[1:], {"from": "human", "value": "<image>"}], 1, "1 of 1 pictures come after the last answer"),
    ],
)
def test_what_is_no_conversation_is_refused(value, count, message):
    with pytest.raises(ValueError, match=message):
        read(value, None, count)


def test_pictures_come_as_files_features_or_lists():
    file = io.BytesIO()
    Image.new("L", (3, 2), 7).save(file, "PNG")
    data = file.getvalue()
    assert [each.size for each in pictures([{"bytes": data, "path": None}, data])] == [(3, 2), (3, 2)]
    assert pictures(data)[0].getpixel((0, 0)) == (7, 7, 7) and pictures(None) == []
