import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potstill.config import RequestError
from potstill.pipelines.sources.webdataset import WebDataset
from tests.pipelines.pictures import plain
from tests.pipelines.sources.reading import rows


def tar(members, fmt=tarfile.GNU_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=fmt) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def samples(count, start=0):
    for number in range(start, start + count):
        yield f"{number:04}.png", plain((number, 0, 0))
        yield f"{number:04}.txt", f"caption {number}".encode()
        yield f"{number:04}.json", json.dumps({"n": number, "license": "CC0"}).encode()


def test_members_with_one_key_are_one_row(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(samples(3)))
    found = rows(WebDataset(path=str(tmp_path / "a.tar")))
    assert [row.source for row in found] == ["a.tar#0000", "a.tar#0001", "a.tar#0002"]
    assert [row.image for row in found] == [plain((n, 0, 0)) for n in range(3)]
    assert [(row.caption, row.licence, row.meta) for row in found] == [
        (f"caption {n}", "CC0", f'{{"n":{n}}}') for n in range(3)
    ]


def test_the_key_ends_at_the_first_dot_of_the_file_name_and_folders_belong_to_it(tmp_path):
    members = [("x.y/1.png", plain()), ("x.y/1.seg.png", b"mask"), ("x.y/1.TXT", b"one"), ("z/1.JPG", plain("blue"))]
    (tmp_path / "a.tar").write_bytes(tar(members))
    first, second = rows(WebDataset(path=str(tmp_path)))
    assert (first.source, first.image, first.caption) == ("a.tar#x.y/1", plain(), "one")
    assert (second.source, second.image) == ("a.tar#z/1", plain("blue"))


@pytest.mark.parametrize(("max_rows", "max_bytes"), [(1, 1 << 20), (4, 1 << 20), (100, 1), (100, 5000), (100, 1 << 20)])
@pytest.mark.parametrize("fmt", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_any_cut_gives_the_same_rows(tmp_path, max_rows, max_bytes, fmt):
    long = "deep/" * 15 + "n" * 60 if fmt == tarfile.USTAR_FORMAT else "deep/" * 40 + "é" * 90
    members = [*samples(5), (f"{long}.png", plain()), (f"{long}.txt", b"long"), *samples(5, start=5)]
    (tmp_path / "a.tar").write_bytes(tar(members, fmt))
    source = WebDataset(path=str(tmp_path))
    found = rows(source, max_rows, max_bytes)
    assert [row.caption for row in found] == [
        *(f"caption {n}" for n in range(5)),
        "long",
        *(f"caption {n}" for n in range(5, 10)),
    ]
    items = list(source.items(max_rows, max_bytes))
    assert max(item.rows for item in items) <= max_rows
    assert len({item.key for item in items}) == len(items)


def test_a_run_is_read_without_the_rest_of_the_tar(tmp_path, monkeypatch):
    (tmp_path / "a.tar").write_bytes(tar(samples(50)))
    items = list(WebDataset(path=str(tmp_path)).items(5, 1 << 20))
    assert sum(item.bytes for item in items) <= (tmp_path / "a.tar").stat().st_size
    assert max(item.bytes for item in items) <= 5 * 6 * 512


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12 * 6 * 512))
def test_a_tar_cut_anywhere_gives_its_whole_members_and_at_most_one_error(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    data = tar(samples(12))
    (folder / "a.tar").write_bytes(data[:cut])
    found = rows(WebDataset(path=str(folder)), max_rows=5)
    good = [row for row in found if row.error is None]
    assert [row.image for row in good] == [plain((n, 0, 0)) for n in range(len(good))]
    assert len(good) >= cut // (6 * 512)
    assert len(found) - len(good) <= 1
    clean_ends = {(sample * 6 + members * 2) * 512 for sample in range(13) for members in (0, 1, 2)}
    padding = any(0 <= end - cut < 512 for end in clean_ends)
    assert len(found) > len(good) or padding


def test_a_member_cut_in_its_padding_is_whole(tmp_path):
    data = tar([("1.png", plain())])
    (tmp_path / "a.tar").write_bytes(data[: 512 + len(plain())])
    (row,) = rows(WebDataset(path=str(tmp_path)))
    assert (row.image, row.error) == (plain(), None)


def test_the_cut_picture_of_a_sample_with_texts_is_one_error_not_two(tmp_path):
    data = tar([("1.png", plain()), ("2.json", b"{}"), ("2.png", plain())])
    (tmp_path / "a.tar").write_bytes(data[: 5 * 512 + 20])
    found = rows(WebDataset(path=str(tmp_path)))
    assert [type(row.error).__name__ for row in found] == ["NoneType", "DamagedTar"]
    assert "ends inside member '2.png'" in str(found[1].error)


def test_damage_in_the_middle_is_counted_and_not_taken_for_the_end(tmp_path):
    data = bytearray(tar(samples(4)))
    data[6 * 512 * 2 : 6 * 512 * 2 + 100] = b"x" * 100
    (tmp_path / "a.tar").write_bytes(bytes(data))
    (tmp_path / "b.tar").write_bytes(b"no tar at all" * 100)
    (tmp_path / "c.tar").write_bytes(tar(samples(1)))
    found = rows(WebDataset(path=str(tmp_path)))
    kinds = [type(row.error).__name__ for row in found]
    assert kinds == ["NoneType", "NoneType", "DamagedTar", "DamagedTar", "NoneType"]
    assert "no tar header at byte 6144" in str(found[2].error)


def test_a_key_without_picture_and_broken_json_are_errors_of_their_row(tmp_path):
    members = [("1.txt", b"alone"), ("2.png", plain()), ("2.json", b"{"), ("3.png", plain())]
    (tmp_path / "a.tar").write_bytes(tar(members))
    found = rows(WebDataset(path=str(tmp_path)))
    assert [type(row.error).__name__ for row in found] == ["MissingImage", "BadRecord", "NoneType"]
    assert found[1].image == plain()


def test_folders_and_links_in_a_tar_are_passed_over_and_names_are_only_names(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("d", tarfile.DIRTYPE), ("l.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("../../etc/x.png")
        info.size = len(plain())
        archive.addfile(info, io.BytesIO(plain()))
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    (row,) = rows(WebDataset(path=str(tmp_path)))
    assert (row.source, row.image) == ("a.tar#../../etc/x", plain())


def test_braces_and_globs_name_several_tars_and_a_missing_one_is_refused(tmp_path):
    for number in range(3):
        (tmp_path / f"p-{number:03}.tar").write_bytes(tar(samples(1, start=number)))
    assert [row.caption for row in rows(WebDataset(path=f"{tmp_path}/p-{{000..002}}.tar"))] == [
        f"caption {n}" for n in range(3)
    ]
    assert len(rows(WebDataset(path=f"{tmp_path}/p-00[12].tar"))) == 2
    with pytest.raises(RequestError, match=r"p-003.tar' is no file; correct the pattern"):
        rows(WebDataset(path=f"{tmp_path}/p-{{002..003}}.tar"))


def test_a_file_that_vanishes_is_as_many_rows_with_an_error(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar(samples(3)))
    source = WebDataset(path=str(tmp_path))
    (item,) = source.items(100, 1 << 20)
    (tmp_path / "a.tar").unlink()
    assert [type(row.error).__name__ for row in source.read(item)] == ["FileNotFoundError"] * 3


def test_empty_tars_are_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar([]))
    with pytest.raises(RequestError, match="the tars are empty"):
        rows(WebDataset(path=str(tmp_path)))
