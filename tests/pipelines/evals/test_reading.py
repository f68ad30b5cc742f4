"""Rows as evaluations read them: columns, keys of meta, pictures; and what is refused."""

import json
import zlib

import pytest

from potstill.config import RequestError
from potstill.pipelines.evals.reading import Reader, encoded, key_of, texts
from potstill.pipelines.intake import EmptyFile, ImageTooLarge, NotAnImage
from potstill.pipelines.sources.base import MissingImage
from tests.pipelines.evals.rows import png, rows, write

META = [json.dumps({"label": "cow", "n": 3}), json.dumps({"label": "dog", "seen": [1, 2]}), None]


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, sample_id=["a", "b", "c"], meta=META, n=[1, 2, 3], parts=2)


def test_all_rows_come_in_order_in_parts_of_bounded_size(folder, tmp_path):
    found = Reader(rows(folder), ("n",))
    assert (found.count, found.files) == (3, 2)
    assert [table["n"].to_pylist() for table in found.tables(("n",), most=1)] == [[1], [2], [3]]
    large = write(tmp_path / "large", n=list(range(25)), group=10)
    assert [table.num_rows for table in Reader(rows(large), ("n",)).tables(("n",), most=8)] == [8, 2, 8, 2, 5]
    assert Reader(rows(large), ("n",)).values("n") == list(range(25))


def test_conditions_and_limits_choose_rows(folder):
    assert Reader(rows(folder, where={"sample_id": ["b", "c"]}), ("n",)).values("n") == [2, 3]
    assert Reader(rows(folder, limit=2), ("n",)).values("n") == [1, 2]


def test_keys_of_meta_are_columns(folder):
    found = Reader(rows(folder), ("meta_label", "n", "meta_n", "meta_seen"))
    assert found.values("meta_label") == ["cow", "dog", None]
    assert found.values("meta_n") == ["3", None, None]
    assert found.values("meta_seen") == [None, "[1, 2]", None]
    assert found.values("n") == [1, 2, 3]


def test_a_column_of_its_own_comes_before_a_key_of_meta(tmp_path):
    folder = write(tmp_path, meta=['{"x": 1}'], meta_x=["own"])
    assert Reader(rows(folder), ("meta_x",)).values("meta_x") == ["own"]


def test_rows_say_which_they_are_and_what_shares_a_picture(folder, tmp_path):
    found = Reader(rows(folder), ("n",))
    assert "sample_id" in found and "n" in found and "image_id" not in found
    assert found.values("n") and found.pictures() == [0, 1, 2]
    assert [name for table in found.names for name in table["sample_id"].to_pylist()] == ["a", "b", "c"]
    shared = Reader(rows(write(tmp_path / "x", image_id=["p", "p", "q"], n=[1, 2, 3])), ("n",))
    assert shared.values("n") and shared.pictures() == ["p", "p", "q"]


def test_a_column_that_is_not_there_is_named_with_those_that_are(folder):
    with pytest.raises(
        RequestError, match=r"no column 'm', 'o'; columns there: sample_id, meta, n, and keys .* meta_KEY"
    ):
        Reader(rows(folder), ("m", "n", "o"))


def test_no_rows_and_no_parquet_are_refused(tmp_path):
    with pytest.raises(RequestError, match="no Parquet file at"):
        Reader(rows(tmp_path), ())
    with pytest.raises(RequestError, match="no row in 1 files"):
        Reader(rows(write(tmp_path / "empty", n=[])), ("n",))
    (tmp_path / "text.parquet").write_text("hello, this is no Parquet")
    with pytest.raises(RequestError, match="is no whole Parquet file"):
        Reader(rows(tmp_path / "text.parquet"), ())


def test_a_picture_is_bytes_or_a_struct_of_them():
    data = png("red")
    assert encoded(data) == encoded({"bytes": data, "path": None}) == data
    assert key_of(data) == key_of(bytes(data)) != key_of(png("blue"))


@pytest.mark.parametrize("cell", [None, {"bytes": None, "path": "a.png"}, "a.png"])
def test_a_cell_without_bytes_is_an_error_of_the_row(cell):
    with pytest.raises(MissingImage, match="holds no bytes"):
        encoded(cell)


def test_bytes_that_are_no_sound_picture_are_an_error_of_the_row():
    for data, error in ((b"", EmptyFile), (b"no picture", NotAnImage), (bomb(), ImageTooLarge)):
        with pytest.raises(error):
            encoded(data)


def bomb():
    """The header of a PNG of 60,000 x 60,000 pixels."""
    data = bytearray(png("red"))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def test_texts_are_one_or_several_and_never_blank():
    assert texts(" a ") == ["a"]
    assert texts(["a", None, "", " b"]) == ["a", "b"]
    assert texts(None) == texts("  ") == texts([]) == []
    assert texts(7) == ["7"]
