import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potstill.config import RequestError
from potstill.pipelines.sources.parquet import ParquetFiles
from tests.pipelines.pictures import plain
from tests.pipelines.sources.reading import rows

COLORS = ["red", "green", "blue", "white", "black", "pink", "gold"]
PICTURES = [plain(color) for color in COLORS]
HF_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path, columns, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)


def test_binary_images_come_with_texts_by_usual_names_and_the_rest_as_meta(tmp_path):
    columns = {
        "id": [1, 2],
        "jpg": PICTURES[:2],
        "TEXT": ["one", None],
        "question": ["q1", "q2"],
        "answer": ["a1", "a2"],
        "license": ["CC0", "MIT"],
        "score": [0.5, None],
        "tags": [["x", "y"], []],
        "blob": [b"left out", b""],
    }
    write(tmp_path / "a.parquet", columns)
    first, second = rows(ParquetFiles(path=str(tmp_path)))
    assert first.source == "a.parquet#0"
    assert (first.image, first.caption, first.instruction) == (PICTURES[0], "one", "q1")
    assert (first.response, first.licence) == ("a1", "CC0")
    assert json.loads(first.meta) == {"id": 1, "score": 0.5, "tags": ["x", "y"]}
    assert second.caption is None
    assert json.loads(second.meta) == {"id": 2, "tags": []}


def test_the_hugging_face_struct_is_an_image_and_a_list_of_captions_gives_its_first(tmp_path):
    image = pa.array([{"bytes": PICTURES[0], "path": None}], HF_IMAGE)
    write(tmp_path / "a.parquet", {"image": image, "caption": [["first", "second"]]})
    (row,) = rows(ParquetFiles(path=str(tmp_path / "a.parquet")))
    assert (row.image, row.caption) == (PICTURES[0], "first")


def test_a_path_without_bytes_is_read_from_below_the_files_folder_and_nowhere_else(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(PICTURES[0])
    (tmp_path / "secret.png").write_bytes(PICTURES[1])
    paths = ["x.png", "../secret.png", "/etc/passwd", "https://h/x.png", "missing.png", None]
    image = pa.array([{"bytes": None, "path": path} for path in paths], HF_IMAGE)
    write(tmp_path / "in" / "a.parquet", {"image": image})
    found = rows(ParquetFiles(path=str(tmp_path / "in")))
    assert found[0].image == PICTURES[0]
    kinds = [type(row.error).__name__ for row in found]
    assert kinds == ["NoneType", "OutsidePath", "OutsidePath", "OutsidePath", "FileNotFoundError", "MissingImage"]


def test_columns_can_be_named_and_wrong_names_are_refused_with_the_right_ones(tmp_path):
    write(tmp_path / "a.parquet", {"image": PICTURES[:1], "other": PICTURES[1:2], "words": ["w"], "n": [7]})
    path = str(tmp_path)
    (row,) = rows(ParquetFiles(path=path, columns={"image": "other", "caption": "words", "licence": "n"}))
    assert (row.image, row.caption, row.licence, row.meta) == (PICTURES[1], "w", "7", None)
    with pytest.raises(
        RequestError, match=r"source.columns.caption: a.parquet has no column 'x'; columns: image, other"
    ):
        rows(ParquetFiles(path=path, columns={"caption": "x"}))
    with pytest.raises(RequestError, match=r"no image column .* name it in source.columns.image"):
        rows(ParquetFiles(path=path, columns={"image": "words"}))
    write(tmp_path / "a.parquet", {"words": ["w"]})
    with pytest.raises(RequestError, match=r"no image column .* words \(string\)"):
        rows(ParquetFiles(path=path))


@pytest.mark.parametrize("max_rows", [1, 2, 3, 100])
def test_slices_of_row_groups_hold_every_row_once_and_no_more_than_asked(tmp_path, max_rows):
    write(tmp_path / "a.parquet", {"image": PICTURES, "n": list(range(7))}, row_group_size=3)
    write(tmp_path / "b.parquet", {"image": PICTURES[:2], "n": [7, 8]})
    source = ParquetFiles(path=str(tmp_path))
    items = list(source.items(max_rows, 1 << 20))
    assert max(item.rows for item in items) <= max_rows
    assert len({item.key for item in items}) == len(items)
    found = rows(source, max_rows)
    assert [json.loads(row.meta)["n"] for row in found] == list(range(9))
    assert [row.image for row in found] == PICTURES + PICTURES[:2]
    assert [row.source for row in found] == [*(f"a.parquet#{n}" for n in range(7)), "b.parquet#0", "b.parquet#1"]


def test_slices_are_bounded_in_bytes(tmp_path):
    write(tmp_path / "a.parquet", {"image": [bytes([n]) * 1000 for n in range(10)]}, use_dictionary=False)
    items = list(ParquetFiles(path=str(tmp_path)).items(100, 2500))
    assert [item.rows for item in items] == [2, 2, 2, 2, 2]


def test_a_group_of_more_than_one_batch_is_cut_right(tmp_path):
    write(tmp_path / "a.parquet", {"image": [PICTURES[0]] * 300, "n": list(range(300))})
    found = rows(ParquetFiles(path=str(tmp_path)), max_rows=70)
    assert [json.loads(row.meta)["n"] for row in found] == list(range(300))


def test_a_corrupt_file_is_one_row_with_an_error_and_the_others_are_read(tmp_path):
    write(tmp_path / "a.parquet", {"image": PICTURES[:2]})
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no parquet at all")
    (tmp_path / "c.parquet").write_bytes(b"")
    found = rows(ParquetFiles(path=str(tmp_path)))
    assert [row.source for row in found] == ["a.parquet#0", "a.parquet#1", "b.parquet#damaged", "c.parquet#damaged"]
    assert [type(row.error).__name__ for row in found[2:]] == ["DamagedParquet", "DamagedParquet"]


def test_damage_inside_a_file_costs_the_rows_of_its_group_each_with_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, {"image": [picture * 20 for picture in PICTURES[:4]]}, row_group_size=2, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[10:60] = b"\xff" * 50
    path.write_bytes(bytes(data))
    found = rows(ParquetFiles(path=str(tmp_path)))
    assert len(found) == 4
    assert [type(row.error).__name__ for row in found] == ["DamagedParquet", "DamagedParquet", "NoneType", "NoneType"]


def test_a_file_that_vanishes_is_as_many_rows_with_an_error(tmp_path):
    write(tmp_path / "a.parquet", {"image": PICTURES[:3]})
    source = ParquetFiles(path=str(tmp_path))
    (item,) = source.items(100, 1 << 20)
    (tmp_path / "a.parquet").unlink()
    assert [type(row.error).__name__ for row in source.read(item)] == ["DamagedParquet"] * 3
