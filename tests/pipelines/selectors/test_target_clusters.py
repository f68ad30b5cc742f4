"""Clusters with a target in them stay: by hand in the plane, from files and from a condition, in any order."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.target_clusters import TargetClusters
from tests.pipelines.neighbours.worlds import angle
from tests.pipelines.selectors.sets import rows, vectors

DEGREES = [0, 2, 4, 90, 92, 94, 180, 182, 184]
"""Three bundles of directions."""


def stage(**settings):
    return TargetClusters.model_validate({"embedding": "v", "clusters": 3, **settings})


def bundles(**more):
    return {"v": vectors(angle(*DEGREES)), "is_target": [number == 4 for number in range(9)], **more}


def files(folder, *degrees, width=2):
    table = pa.table({"v": vectors(np.pad(angle(*degrees), ((0, 0), (0, width - 2))))})
    pq.write_table(table, folder / "targets.parquet")
    return str(folder / "targets.parquet")


def test_a_cluster_stays_with_one_target_in_it_and_all_its_rows_with_it():
    choice = stage(where="is_target").select(rows(9, **bundles()), 0)
    assert choice.keep.tolist() == [False] * 3 + [True] * 3 + [False] * 3
    assert set(choice.reasons[~choice.keep]) == {"off_target"}
    assert choice.columns["target_clusters_targets"].to_pylist() == [0] * 3 + [1] * 3 + [0] * 3
    assert len(set(choice.columns["target_clusters_cluster"].to_pylist()[:3])) == 1


def test_targets_of_another_set_are_counted_where_they_fall(tmp_path):
    choice = stage(against=files(tmp_path, 1, 3, 200, 178)).select(rows(9, **bundles()), 0)
    assert choice.columns["target_clusters_targets"].to_pylist() == [2] * 3 + [0] * 3 + [2] * 3
    assert choice.keep.tolist() == [True] * 3 + [False] * 3 + [True] * 3


def test_without_dropping_it_only_writes_what_a_later_condition_can_read():
    choice = stage(where="is_target", drop=False).select(rows(9, **bundles()), 0)
    assert choice.keep.all()
    assert choice.columns["target_clusters_targets"].to_pylist() == [0] * 3 + [1] * 3 + [0] * 3


def test_rows_without_a_vector_have_no_cluster_and_are_no_targets():
    values = bundles(v=vectors(angle(*DEGREES), missing=[3, 4]))
    choice = stage(where="is_target").select(rows(9, **values), 0)
    assert not choice.keep.any()
    assert choice.reasons[4] == "no_vector"
    assert choice.columns["target_clusters_cluster"][4].as_py() is None
    assert choice.columns["target_clusters_targets"][4].as_py() is None


def test_no_vectors_at_all_keep_nothing():
    choice = stage(where="is_target").select(rows(2, v=pa.nulls(2), is_target=[True, None]), 0)
    assert choice.reasons.tolist() == ["no_vector"] * 2
    assert len(stage(where="is_target").select(RowSet([]), 0).keep) == 0


def test_the_order_and_the_blocks_of_the_rows_do_not_matter(tmp_path):
    rng = np.random.default_rng(0)
    values = {"v": vectors(rng.normal(size=(300, 8)))}
    url = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"v": vectors(rng.normal(size=(12, 8)))}), url)
    first = stage(against=url, clusters=40).select(rows(300, **values), 5)
    again = stage(against=url, clusters=40).select(rows(300, order=rng.permutation(300), blocks=4, **values), 5)
    assert first.keep.tolist() == again.keep.tolist() and 0 < first.keep.sum() < 300
    assert first.columns["target_clusters_cluster"].equals(again.columns["target_clusters_cluster"])


def test_other_targets_are_another_choice(tmp_path):
    before = stage(against=files(tmp_path, 1)).identity()
    assert stage(against=files(tmp_path, 1)).identity() == before
    assert stage(against=files(tmp_path, 2)).identity() != before
    assert stage(where="is_target").identity() == {}


def test_it_reads_the_vectors_and_what_the_condition_names():
    assert stage(where="score > 3 and source != 'x'").reads() == ("v", "score", "source")
    assert stage(against="x.parquet").reads() == ("v",)


@pytest.mark.parametrize(
    "settings", [{}, {"against": "x", "where": "a > 1"}, {"where": "a >"}, {"where": "a > 1", "clusters": 0}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        stage(**settings)


def test_targets_that_cannot_be_compared_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match="its vectors have 3 numbers, those of the rows 2; embed both"):
        stage(against=files(tmp_path, 1, width=3)).select(rows(9, **bundles()), 0)
    with pytest.raises(ValueError, match="against: no Parquet file at"):
        stage(against=str(tmp_path / "none.parquet")).identity()
    pq.write_table(pa.table({"v": pa.nulls(2, pa.list_(pa.float32(), 2))}), tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match="has no vector in 'v'"):
        stage(against=str(tmp_path / "empty.parquet")).select(rows(9, **bundles()), 0)
