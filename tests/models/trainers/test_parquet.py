"""Rows of Parquet: a run directory, conditions, limits, and what is said when something is not there."""

import pytest

from potstill.config import RequestError
from potstill.models.trainers.parquet import EPOCH, groups
from potstill.models.trainers.settings import Data, Rows
from tests.models.trainers.world import write_vectors


@pytest.fixture
def run(tmp_path):
    return write_vectors(tmp_path / "run")


def test_rows_come_in_the_order_that_is_asked_for(run):
    found = groups(Rows(path=str(run)), ("sample_id", "label"))
    assert found.sizes == (50, 30) * 3
    data = Data(path=str(run), window=240)
    table = found.read(found.order(data, 5).window_rows(0))
    plain = found.read(found.order(data.model_copy(update={"shuffle": False}), 5).window_rows(0))
    assert sorted(table["sample_id"].to_pylist()) == sorted(plain["sample_id"].to_pylist())
    assert len(set(plain["sample_id"].to_pylist())) == 240
    labels = dict(zip(plain["sample_id"].to_pylist(), plain["label"].to_pylist(), strict=True))
    assert all(labels[i] == k for i, k in zip(table["sample_id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert set(table[EPOCH].to_pylist()) == {1}


def test_conditions_and_a_limit_choose_rows(run):
    train = groups(Rows(path=str(run), where={"split": ["train"]}), ("split",))
    assert sum(train.sizes) == 180
    rows = train.read(train.order(Data(path=str(run), window=180), 0).window_rows(0))
    assert set(rows["split"].to_pylist()) == {"train"} and rows.num_rows == 180
    assert sum(groups(Rows(path=str(run), limit=70), ("split",)).sizes) == 70
    assert sum(groups(Rows(path=str(run), where={"split": ["val"]}, limit=13), ("split",)).sizes) == 13


def test_a_file_a_folder_and_a_glob_are_found(run):
    for path in (run / "dataset", run / "dataset" / "part-*.parquet", run / "dataset" / "part-00001.parquet"):
        assert sum(groups(Rows(path=str(path)), ("label",)).sizes) in (240, 80)


def test_mistakes_say_what_is_there(run, tmp_path):
    with pytest.raises(RequestError, match=r"no column 'caption'; it has sample_id, features"):
        groups(Rows(path=str(run)), ("caption",))
    with pytest.raises(RequestError, match="no Parquet file at"):
        groups(Rows(path=str(tmp_path / "nowhere")), ("label",))
    with pytest.raises(RequestError, match="no row with"):
        groups(Rows(path=str(run), where={"split": ["test"]}), ("label",))
