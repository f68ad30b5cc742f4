import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potstill.config import RequestError
from potstill.pipelines.sources.conversation import first_turns
from potstill.pipelines.sources.jsonl import Jsonl
from potstill.pipelines.sources.records import elements
from tests.pipelines.pictures import plain
from tests.pipelines.sources.reading import rows


@pytest.fixture
def place(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        (tmp_path / "images" / f"{name}.png").write_bytes(plain("red" if name == "a" else "blue"))
    return tmp_path


def write_lines(path, *records):
    path.write_text("".join(f"{record if isinstance(record, str) else json.dumps(record)}\n" for record in records))


def test_pairs_are_read_with_images_from_beside_the_file_and_one_image_may_serve_twice(place):
    one = {"instruction": "What colour?", "response": "Red.", "image": "images/a.png"}
    write_lines(place / "pairs.jsonl", one, one | {"instruction": "Again?"})
    first, second = rows(Jsonl(path=str(place / "pairs.jsonl")))
    assert (first.source, first.image) == ("pairs.jsonl#1", plain("red"))
    assert (first.instruction, first.response, first.meta) == ("What colour?", "Red.", '{"image":"images/a.png"}')
    assert (second.image, second.instruction) == (first.image, "Again?")


def test_llavas_list_gives_the_first_pair_and_keeps_the_talk_in_meta(place):
    talk = [
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": "A square."},
        {"from": "human", "value": "Sure?"},
        {"from": "gpt", "value": "Yes."},
    ]
    content = [{"id": "7", "image": "images/b.png", "conversations": talk}, {"image": "images/a.png", "caption": "c é"}]
    (place / "llava.json").write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    first, second = rows(Jsonl(path=str(place / "llava.json")), max_rows=1)
    assert (first.source, first.image) == ("llava.json#1", plain("blue"))
    assert (first.instruction, first.response) == ("What is it?", "A square.")
    assert json.loads(first.meta) == content[0]
    assert (second.source, second.caption) == ("llava.json#2", "c é")


def test_messages_with_parts_are_a_conversation_too():
    content = [{"type": "image"}, {"type": "text", "text": "What?"}]
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": content},
        {"role": "assistant", "content": "B"},
    ]
    assert first_turns({"messages": turns}) == {"instruction": "What?", "response": "B"}
    assert first_turns({"conversations": [3, {"from": "gpt", "value": "early"}]}) == {}
    assert first_turns({"conversations": "text"}) == {}


def test_a_line_that_is_no_record_is_an_error_with_its_number_and_the_others_are_read(place):
    good = {"image": "images/a.png"}
    write_lines(place / "x.jsonl", good, "{broken", "", "[1]", good)
    found = rows(Jsonl(path=str(place / "x.jsonl")))
    assert [row.source for row in found] == ["x.jsonl#1", "x.jsonl#2", "x.jsonl#4", "x.jsonl#5"]
    assert [type(row.error).__name__ for row in found] == ["NoneType", "BadRecord", "BadRecord", "NoneType"]
    assert "x.jsonl#2: not valid JSON" in str(found[1].error)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("../../etc/passwd", "OutsidePath"),
        ("/etc/passwd", "OutsidePath"),
        ("https://host/x.jpg", "OutsidePath"),
        ("images/none.png", "FileNotFoundError"),
        ("images", "IsADirectoryError"),
        ("a\x00b", "OutsidePath"),
        ("", "MissingImage"),
        (None, "MissingImage"),
        (7, "MissingImage"),
        (["images/a.png", "images/b.png"], "BadRecord"),
        (["images/a.png"], "NoneType"),
        ({"path": "images/a.png"}, "NoneType"),
    ],
)
def test_hostile_and_wrong_image_paths_are_errors_of_their_row(place, image, kind):
    write_lines(place / "x.jsonl", {"image": image, "caption": "kept"})
    (row,) = rows(Jsonl(path=str(place / "x.jsonl")))
    assert type(row.error).__name__ == kind
    assert row.caption == "kept"


def test_root_is_where_paths_start(place):
    (place / "lists").mkdir()
    write_lines(place / "lists" / "x.jsonl", {"image": "a.png"}, {"image": "../lists/x.jsonl"})
    found = rows(Jsonl(path=str(place / "lists"), root=str(place / "images")))
    assert found[0].image == plain("red")
    assert type(found[1].error).__name__ == "OutsidePath"


def test_items_are_bounded_in_rows_and_in_the_bytes_of_their_pictures(place):
    write_lines(place / "x.jsonl", *[{"image": "images/a.png"}] * 10)
    source = Jsonl(path=str(place / "x.jsonl"))
    assert [item.rows for item in source.items(4, 1 << 20)] == [4, 4, 2]
    weight = len(plain("red")) + len('{"image": "images/a.png"}\n')
    assert [item.rows for item in source.items(100, 3 * weight)] == [3, 3, 3, 1]
    assert next(source.items(100, 3 * weight)).bytes == 3 * weight
    assert [item.rows for item in source.items(100, 1)] == [1] * 10


def test_a_run_keeps_its_version_when_lines_are_added_and_loses_it_when_a_picture_changes(place):
    lines = [{"image": "images/a.png"}, {"image": "images/a.png"}, {"image": "images/b.png"}]
    write_lines(place / "x.jsonl", *lines)
    source = Jsonl(path=str(place / "x.jsonl"))
    before = list(source.items(2, 1 << 20))
    write_lines(place / "x.jsonl", *lines, {"image": "images/b.png"})
    assert next(source.items(2, 1 << 20)) == before[0]
    (place / "images" / "b.png").write_bytes(plain("green", size=(99, 99)))
    write_lines(place / "x.jsonl", *lines)
    after = list(source.items(2, 1 << 20))
    assert after[0] == before[0]
    assert after[1].version != before[1].version


def test_a_list_that_is_damaged_or_cut_gives_its_whole_records_and_one_error(place):
    record = json.dumps({"image": "images/a.png"})
    for tail in (',{"image": "ima', ' {"image": 1}]', ',{"x": }, {"image": "images/a.png"}]'):
        (place / "x.json").write_text(f"[{record},\n{record}{tail}")
        found = rows(Jsonl(path=str(place / "x.json")))
        assert found[0].error is None
        assert sum(row.error is not None for row in found) == 1
        assert found[-1].error is not None


def test_wrong_places_and_empty_files_are_refused(place):
    with pytest.raises(RequestError, match="does not exist"):
        rows(Jsonl(path=str(place / "none.jsonl")))
    (place / "x.jsonl").write_text("\n\n")
    with pytest.raises(RequestError, match="has no records"):
        rows(Jsonl(path=str(place / "x.jsonl")))
    (place / "x.json").write_text("[]")
    with pytest.raises(RequestError, match="has no records"):
        rows(Jsonl(path=str(place / "x.json")))


def test_a_byte_order_mark_and_windows_line_ends_are_fine(place):
    (place / "x.jsonl").write_bytes(b'\xef\xbb\xbf{"image": "images/a.png"}\r\n{"image": "images/b.png"}\r\n')
    assert [row.image for row in rows(Jsonl(path=str(place / "x.jsonl")), max_rows=1)] == [plain("red"), plain("blue")]


words = st.text(max_size=8)
values = st.recursive(
    st.none() | st.integers() | words, lambda inner: st.lists(inner) | st.dictionaries(words, inner), max_leaves=6
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(words, values, max_size=4), max_size=6), st.sampled_from([None, 2]), st.booleans())
def test_elements_of_any_list_are_found_by_their_bytes(content, indent, ascii_only):
    data = json.dumps(content, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    found = list(elements(data, 1))
    assert [json.loads(record.text) for record in found] == json.loads(data)
    assert [record.number for record in found] == list(range(1, len(content) + 1))
    if found:
        middle = found[len(found) // 2]
        part = list(elements(data[middle.start : found[-1].stop], 0))
        assert [record.text for record in part] == [record.text for record in found[len(found) // 2 :]]
