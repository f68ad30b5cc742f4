"""Prompt stages behind a grouping: all pictures of the group, and the texts of its members."""

import pyarrow as pa

from potstill.pipelines.synthesizers.prompt import PromptChain
from tests.pipelines.synthesizers.scripted import ENGINE, lists, png, use, words


def stage(*questions, **settings):
    return PromptChain(name="ask", engine=ENGINE, group="album", questions=questions, **settings)


def groups(images, **columns):
    ids = [f"{index:032x}" for index in range(len(images))]
    members = [[f"{id_}-{place}" for place in range(len(each))] for id_, each in zip(ids, images, strict=True)]
    files = pa.array(images, pa.list_(pa.large_binary()))
    return pa.table({"sample_id": ids, "image_id": ids, "album.image_id": members, "album.image": files, **columns})


def test_a_question_shows_all_pictures_of_its_group_in_order(monkeypatch):
    engine = use(monkeypatch, lambda request: f"{len(request.images)} pictures")
    unit = stage(
        {"name": "count", "image": True, "prompt": "How many?"}, {"name": "blind", "image": False, "prompt": "And now?"}
    )
    assert unit.reads() == ("album.image_id", "album.image")
    result = lists(unit.build()(groups([[png(1), png(2)], [png(3), png(4), png(5)]])))
    assert result["ask_count"] == ["2 pictures", "3 pictures"]
    assert result["ask_blind"] == ["0 pictures"] * 2
    seen = next(request for request in engine.requests if len(request.images) == 3)
    assert [part["type"] for part in seen.messages[0]["content"]] == ["image"] * 3 + ["text"]
    assert [image.getpixel((0, 0)) for image in seen.images] == [pixel(png(number)) for number in (3, 4, 5)]


def pixel(data):
    from io import BytesIO

    from PIL import Image

    return Image.open(BytesIO(data)).convert("RGB").getpixel((0, 0))


def test_what_the_members_have_in_a_column_is_numbered(monkeypatch):
    engine = use(monkeypatch, lambda request: "fine")
    unit = stage({"name": "read", "image": False, "prompt": "Read:\n{album.caption}"})
    assert unit.reads() == ("album.caption",)
    captions = pa.array([["a bridge", None, "{album.caption}"], [None, " "]], pa.list_(pa.string()))
    result = lists(unit.build()(groups([[png(1)], [png(2)]], **{"album.caption": captions})))
    assert words(engine.requests[0]) == "Read:\n1. a bridge\n3. {album.caption}"
    assert result["ask_read"] == ["fine", None]
    assert "there is no text for {album.caption}" in result["error"][1]


def test_a_broken_picture_of_one_group_costs_that_group_only(monkeypatch):
    use(monkeypatch, lambda request: "fine")
    unit = stage({"name": "look", "image": True, "prompt": "Look."})
    result = lists(unit.build()(groups([[png(1), b"no picture"], [png(2), png(3)]])))
    assert result["ask_look"] == [None, "fine"]
    assert [error is None for error in result["error"]] == [False, True]


def test_pictures_of_examples_stand_before_the_own_and_may_be_missing(monkeypatch):
    engine = use(monkeypatch, lambda request: f"{len(request.images)} pictures")
    question = {"name": "own", "image": True, "prompt": "The last one?"}
    unit = PromptChain(name="ask", engine=ENGINE, examples="doubt", questions=(question,))
    assert unit.reads() == ("doubt.image_id", "doubt.image", "image")
    shown = [[png(1), png(2)], [], None]
    names = [each and [f"{place}{number}" for place in range(len(each))] for number, each in enumerate(shown)]
    table = pa.table(
        {
            "sample_id": [f"{index:032x}" for index in range(3)],
            "image_id": ["x", "y", "z"],
            "image": pa.array([png(7), png(8), png(9)], pa.large_binary()),
            "doubt.image_id": pa.array(names, pa.list_(pa.string())),
            "doubt.image": pa.array(shown, pa.list_(pa.large_binary())),
        }
    )
    result = lists(unit.build()(table))
    assert (result["ask_own"], result["error"]) == (["3 pictures", "1 pictures", "1 pictures"], [None] * 3)
    pictures = [[image.getpixel((0, 0))[0] for image in request.images] for request in engine.requests]
    assert pictures == [[1, 2, 7], [8], [9]]
    both = PromptChain(name="ask", engine=ENGINE, examples="doubt", group="album", questions=(question,))
    assert both.reads() == ("doubt.image_id", "doubt.image", "album.image_id", "album.image")
    table = table.append_column("album.image_id", pa.array([["a", "b"]] * 3, pa.list_(pa.string())))
    table = table.append_column("album.image", pa.array([[png(4), png(5)]] * 3, pa.list_(pa.large_binary())))
    assert lists(both.build()(table))["ask_own"] == ["4 pictures", "2 pictures", "2 pictures"]
