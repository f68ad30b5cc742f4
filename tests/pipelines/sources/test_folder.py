import json
import os

import fsspec
import pytest
from pydantic import ValidationError

from potstill.config import RequestError
from potstill.pipelines.intake import Intake, take_in
from potstill.pipelines.sources.folder import Folder
from tests.pipelines.pictures import plain


def write(root, *names, data=None):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plain() if data is None else data)


def listed(source):
    return list(source.items(100, 1 << 20))


def rows(source):
    found = []
    for item in listed(source):
        mine = list(source.read(item))
        assert len(mine) == item.rows
        found += mine
    return found


def test_images_of_all_extensions_are_found_below_the_folder_by_path(tmp_path):
    names = ["b.JPG", "a/z.jpeg", "a/y.PnG", "a.webp", "c/d/e.gif", "f.bmp", "g.tif", "h.TIFF"]
    write(tmp_path, *names, "notes.md", "movie.mp4", ".hidden.jpg", ".git/x.jpg", "noextension")
    items = listed(Folder(path=str(tmp_path)))
    assert [item.key for item in items] == sorted(names)
    assert [item.rows for item in items] == [1] * 8
    assert items[0].bytes == len(plain())
    assert [row.source for row in rows(Folder(path=str(tmp_path)))] == sorted(names)
    assert rows(Folder(path=str(tmp_path)))[0].image == plain()


def test_only_the_top_is_read_when_it_is_not_recursive(tmp_path):
    write(tmp_path, "a.jpg", "b/c.jpg")
    assert [item.key for item in listed(Folder(path=str(tmp_path), recursive=False))] == ["a.jpg"]


def test_one_file_and_a_glob_are_places_too(tmp_path):
    write(tmp_path, "a.jpg", "b/c.jpg", "b/d.png")
    assert [item.key for item in listed(Folder(path=str(tmp_path / "a.jpg")))] == ["a.jpg"]
    assert [item.key for item in listed(Folder(path=str(tmp_path / "b" / "*.png")))] == ["d.png"]


def test_captions_and_texts_come_from_the_files_beside(tmp_path):
    write(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "a.txt").write_text("a red square\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("loses", encoding="utf-8")
    content = {"caption": "wins", "question": "what?", "answer": "red", "license": "CC0", "url": "x", "n": 3}
    (tmp_path / "b.json").write_text(json.dumps(content), encoding="utf-8")
    first, second, third = rows(Folder(path=str(tmp_path)))
    assert (first.caption, first.meta) == ("a red square", None)
    assert (second.caption, second.instruction, second.response) == ("wins", "what?", "red")
    assert (second.licence, second.meta) == ("CC0", '{"url":"x","n":3}')
    assert third.caption is None
    assert [row.caption for row in rows(Folder(path=str(tmp_path), sidecars=False))] == [None] * 3


def test_a_changed_caption_changes_the_version_and_nothing_else_does(tmp_path):
    write(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    before = listed(Folder(path=str(tmp_path)))
    assert listed(Folder(path=str(tmp_path))) == before
    (tmp_path / "a.txt").write_text("other", encoding="utf-8")
    after = listed(Folder(path=str(tmp_path)))
    assert after[0].version != before[0].version
    assert after[1] == before[1]


@pytest.mark.parametrize("content", [b"{broken", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_broken_caption_file_is_a_row_with_an_error_that_names_it(tmp_path, content):
    write(tmp_path, "a.jpg")
    (tmp_path / "a.json").write_bytes(content)
    (row,) = rows(Folder(path=str(tmp_path)))
    assert row.image == plain()
    assert "a.json" in str(row.error)


def test_text_that_is_no_utf8_is_read_with_replacements(tmp_path):
    write(tmp_path, "a.jpg")
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    assert rows(Folder(path=str(tmp_path)))[0].caption == "caf\ufffd"


def test_hostile_names_stay_names(tmp_path):
    names = [b"-rf.jpg", b"a\nb.jpg", b"a..jpg", b"bad\xff.jpg", b"sp ace'\".jpg", b"<script>.jpg", b"back\\slash.jpg"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(plain())
    found = rows(Folder(path=str(tmp_path)))
    assert len(found) == len(names)
    assert all(row.image == plain() for row in found)
    table = take_in(found, Intake())
    assert len(set(table["source"].to_pylist())) == len(names)
    assert table["error"].null_count == len(names)
    assert "bad\\udcff.jpg" in [item.key for item in listed(Folder(path=str(tmp_path)))]


def test_a_loop_of_links_is_walked_once_and_linked_pictures_are_read(tmp_path):
    write(tmp_path, "a/x.jpg")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "linked.jpg").symlink_to(tmp_path / "a" / "x.jpg")
    keys = [item.key for item in listed(Folder(path=str(tmp_path)))]
    assert keys == ["a/x.jpg", "linked.jpg"]


def test_a_file_that_vanishes_or_dangles_is_a_row_with_its_error(tmp_path):
    write(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "nowhere.jpg")
    source = Folder(path=str(tmp_path))
    items = listed(source)
    (tmp_path / "b.jpg").unlink()
    found = [row for item in items for row in source.read(item)]
    assert [type(row.error).__name__ for row in found] == ["NoneType", "FileNotFoundError", "FileNotFoundError"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_row_with_its_error(tmp_path):
    write(tmp_path, "a.jpg")
    (tmp_path / "a.jpg").chmod(0)
    assert type(rows(Folder(path=str(tmp_path)))[0].error) is PermissionError


def test_wrong_places_are_refused_with_the_value_and_a_way_out(tmp_path):
    with pytest.raises(RequestError, match=r"nowhere' does not exist; give"):
        listed(Folder(path=str(tmp_path / "nowhere")))
    with pytest.raises(RequestError, match=r"has no file that ends in .*; give"):
        listed(Folder(path=str(tmp_path)))
    write(tmp_path, "a.txt", data=b"text")
    with pytest.raises(RequestError, match=r"has no image \(bmp, .*; give"):
        listed(Folder(path=str(tmp_path)))
    with pytest.raises(RequestError, match="nosuchprotocol"):
        listed(Folder(path="nosuchprotocol://x"))
    with pytest.raises(ValidationError, match="the path is empty"):
        Folder(path="")


def test_a_relative_path_is_fixed_where_the_plan_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Folder(path="pictures/../in")
    assert source.path == str(tmp_path / "in")
    assert Folder(path="memory://a/../b").path == "memory://a/../b"


def test_any_fsspec_url_is_a_place():
    fs = fsspec.filesystem("memory")
    for name in ("a.jpg", "sub/b.png", "sub/.c.png", "notes.md"):
        fs.pipe(f"/folder_source/{name}", plain())
    fs.pipe("/folder_source/a.txt", b"caption")
    source = Folder(path="memory://folder_source")
    assert [item.key for item in listed(source)] == ["a.jpg", "sub/b.png"]
    assert [(row.image, row.caption) for row in rows(source)] == [(plain(), "caption"), (plain(), None)]
    assert [item.key for item in listed(Folder(path="memory://folder_source", recursive=False))] == ["a.jpg"]
    fs.rm("/folder_source", recursive=True)
