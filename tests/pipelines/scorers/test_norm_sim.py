"""NormSim by hand, and what of the target set it depends on."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potstill.pipelines.scorers.norm_sim import NormSim

KIND = pa.list_(pa.float16(), 2)


@pytest.fixture
def target(tmp_path):
    def write(values, kind=KIND):
        pq.write_table(pa.table({"clip_score_image": pa.array(values, kind)}), tmp_path / "target.parquet")
        return str(tmp_path / "target.parquet")

    return write


def run(stage, values, kind=KIND):
    rows = pa.table({"sample_id": [str(n) for n in range(len(values))], "clip_score_image": pa.array(values, kind)})
    return stage.build()(rows)["norm_sim"].to_pylist()


def test_infinity_is_the_largest_absolute_cosine_and_two_the_root_mean_square(target):
    against = target([[1, 0], [0, 3], None])
    values = [[1, 0], [-2, 0], [3, 4], None, [0, 0]]
    assert run(NormSim(against=against), values) == [1, 1, pytest.approx(0.8), None, 0]
    assert run(NormSim(against=against, norm="2"), values) == [*[pytest.approx(np.sqrt(0.5))] * 3, None, 0]


def test_no_rows_and_rows_without_vectors_are_no_trouble(target):
    stage = NormSim(against=target([[1, 0]]))
    assert run(stage, []) == []
    assert run(stage, [None], pa.null()) == [None]


def test_the_identity_follows_the_target_set(target):
    first = NormSim(against=target([[1, 0]])).identity()
    assert NormSim(against=target([[0, 1]])).identity() != first


def test_what_does_not_fit_is_refused(target):
    with pytest.raises(ValueError, match="width 2, the rows 3"):
        run(NormSim(against=target([[1, 0]])), [[1, 0, 0]], pa.list_(pa.float16(), 3))
    with pytest.raises(ValueError, match="has no vector"):
        run(NormSim(against=target([None])), [[1, 0]])
    with pytest.raises(ValueError, match="no Parquet file"):
        NormSim(against="/nowhere").identity()
