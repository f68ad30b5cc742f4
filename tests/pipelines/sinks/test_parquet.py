import json

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from potstill.config import RequestError
from potstill.pipelines import schema
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.sinks.card import dataset_card
from potstill.pipelines.sinks.parquet import Parquet
from tests.pipelines.sinks.rows import HOSTILE, kept

CARD = {
    "plan": {"name": "x"},
    "counts": {"intake": {"in": 5, "kept": 4, "dropped": {}, "duplicate": 0, "quarantined": 1}},
    "content_hash": "abc123",
    "rows": 4,
    "versions": {"potstill": "0.1.0"},
}


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "run")


def fill(run, sink, parts):
    for chunk, table in parts.items():
        sink.write_part(run, chunk, table)
    sink.finish(run, list(parts), CARD)


def files(run):
    return [run.path(f"dataset/{name}") for name in run.list("dataset") if name.endswith(".parquet")]


def test_datasets_opens_it_with_pictures(run, tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    fill(run, Parquet(embeddings=True), {0: kept(2), 7: kept(2, start=2)})
    data = datasets.load_dataset("parquet", data_files=files(run), split="train", cache_dir=str(tmp_path / "cache"))
    assert data.features["image"] == datasets.Image()
    assert data.features["clip_embedding"] == datasets.List(datasets.Value("float16"), length=4)
    assert len(data) == 4
    assert isinstance(data[0]["image"], Image.Image)
    assert data[0]["image"].size == (64, 48)
    assert data[3]["caption"] == "caption 3"
    assert data[0]["clip_embedding"] == [0.5] * 4


def test_datasets_opens_columns_of_lists_and_objects(run, tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    claims = [[[{"claim": "a dog", "holds": True}], []], None]
    kind = pa.list_(pa.list_(pa.struct([("claim", pa.string()), ("holds", pa.bool_())])))
    fill(run, Parquet(), {0: kept(2).append_column("claims", pa.array(claims, kind))})
    data = datasets.load_dataset("parquet", data_files=files(run), split="train", cache_dir=str(tmp_path / "cache"))
    assert data["claims"][:] == claims
    assert data.features["claims"].feature.feature["holds"] == datasets.Value("bool")


def test_pyarrow_pandas_and_duckdb_read_it_plainly(run):
    table = kept(3)
    fill(run, Parquet(), {0: table})
    (file,) = files(run)
    read = pq.read_table(file)
    assert read["image"].combine_chunks().field("bytes").to_pylist() == table["image"].to_pylist()
    ids = table["image_id"].to_pylist()
    names = [f"{ids[0]}.jpg", f"{ids[1]}.png", f"{ids[2]}.jpg"]
    assert read["image"].combine_chunks().field("path").to_pylist() == names
    assert pd.read_parquet(file)["image"][0]["bytes"] == table["image"][0].as_py()
    found = duckdb.sql(f"select sum(octet_length(image.bytes)), max(clip_score) from '{file}'").fetchall()
    assert found == [(sum(len(data) for data in table["image"].to_pylist()), 0.25)]


def test_embeddings_stay_out_unless_wanted_and_columns_can_be_chosen(run):
    fill(run, Parquet(), {0: kept(1)})
    names = run.read_schema("dataset/part-00000.parquet").names
    assert names == [name for name in kept(1).column_names if name != "clip_embedding"]
    fill(run, Parquet(columns=("sample_id", "clip_embedding", "image")), {0: kept(1)})
    assert run.read_schema("dataset/part-00000.parquet").names == ["sample_id", "clip_embedding", "image"]
    fill(run, Parquet(columns=("caption",)), {0: kept(1)})
    assert run.read_table("dataset/part-00000.parquet").to_pylist() == [{"caption": "caption 0"}]
    with pytest.raises(RequestError, match=r"no column 'nope'; columns: .*caption"):
        Parquet(columns=("nope",)).write_part(run, 0, kept(1))


def test_columns_of_the_run_itself_stay_out(run):
    table = kept(2).append_column("dropped_by", pa.nulls(2, pa.string())).append_column(schema.ROW, pa.array([0, 1]))
    fill(run, Parquet(), {0: table})
    assert not {"dropped_by", "row"} & set(run.read_schema("dataset/part-00000.parquet").names)


def test_parts_written_apart_end_with_one_schema_even_where_a_column_was_empty(run):
    full, empty, missing = kept(2), kept(2, start=2), kept(2, start=4).drop_columns(["clip_score"])
    empty = empty.set_column(empty.column_names.index("clip_score"), "clip_score", pa.nulls(2))
    never = [table.append_column("never", pa.nulls(2)) for table in (full, empty, missing)]
    fill(run, Parquet(), dict(enumerate(never)))
    schemas = [pq.read_schema(file) for file in files(run)]
    assert all(each.equals(schemas[0], check_metadata=True) for each in schemas)
    assert schemas[0].field("clip_score").type == pa.float32()
    assert schemas[0].field("never").type == pa.string()
    assert pads.dataset(files(run)).to_table()["clip_score"].to_pylist() == [0.25, 0.25, None, None, None, None]
    features = json.loads(schemas[0].metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["clip_score"] == {"dtype": "float32", "_type": "Value"}


def test_a_run_again_replaces_and_removes_parts(run):
    sink = Parquet()
    fill(run, sink, {0: kept(2), 1: kept(2, start=2), 5: kept(1)})
    sink.write_part(run, 1, kept(0))
    sink.finish(run, [0, 1], CARD)
    assert [name for name in run.list("dataset") if name != "README.md"] == ["part-00000.parquet"]
    sink.write_part(run, 0, kept(0))
    sink.finish(run, [0, 1], CARD)
    assert run.list("dataset") == ["README.md"]
    assert b"0 rows" in run.read_bytes("dataset/README.md")


def test_the_same_rows_give_the_same_bytes(run):
    fill(run, Parquet(), {0: kept(3)})
    first = run.read_bytes("dataset/part-00000.parquet")
    fill(run, Parquet(), {0: kept(3)})
    assert run.read_bytes("dataset/part-00000.parquet") == first


def test_row_groups_are_bounded(run):
    table = kept(40)
    sink = Parquet(row_group_bytes=10_000)
    fill(run, sink, {0: table})
    meta = pq.read_metadata(files(run)[0])
    assert meta.num_row_groups > 3
    assert max(meta.row_group(index).total_byte_size for index in range(meta.num_row_groups)) < 20_000


def test_hostile_text_stays_data_and_never_becomes_markup_of_the_card(run):
    licence = kept(1).schema.get_field_index("licence")
    table = kept(1, captions=HOSTILE).set_column(licence, "licence", pa.array([HOSTILE]))
    fill(run, Parquet(), {0: table})
    assert run.read_table("dataset/part-00000.parquet")["caption"].to_pylist() == [HOSTILE]
    card = run.read_bytes("dataset/README.md").decode()
    assert "<script>" not in card
    assert "\\| \\`rm" in card


def test_the_card_has_a_header_the_funnel_and_the_licences(run):
    fill(run, Parquet(), {0: kept(3), 1: kept(1, start=3)})
    card = run.read_bytes("dataset/README.md").decode()
    header = yaml.safe_load(card.split("---")[1])
    assert header["configs"][0]["data_files"] == [{"split": "train", "path": "part-*.parquet"}]
    assert header["size_categories"] == ["n<1K"]
    assert "4 rows" in card
    assert "`abc123`" in card
    assert "| CC-BY-4.0 | 2 |" in card
    assert "| not stated | 2 |" in card
    assert "| intake | 5 | 4 | 0 | 0 | 1 |" in card


def test_a_card_with_nothing_known_and_half_surrogates_is_written():
    card = dataset_card([], {"versions": {"a\ud800": "b"}, "counts": {"clip": {"in": 3, "dropped": {"low": 2}}}})
    assert b"| clip | 3 |  | low 2 | 0 | 0 |" in card
    assert b"not computed" in card


def test_it_writes_to_any_fsspec_url():
    run = RunDir("memory://parquet_sink")
    fill(run, Parquet(), {0: kept(2)})
    assert run.read_table("dataset/part-00000.parquet").num_rows == 2
    run.remove("dataset/part-00000.parquet")
    run.remove("dataset/README.md")
