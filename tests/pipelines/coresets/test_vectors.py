"""Vectors in shards: every row in one of them, bounded memory, nothing unusable."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.coresets.vectors import Part, Shards, joined, unit
from tests.pipelines.selectors.sets import rows, shuffled, vectors

VALUES = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
LABELS = pa.array([f"c{number % 7}" for number in range(30)])


def shards(count, key=None, given=rows, max_bytes=10**6, values=VALUES, missing=(3,)):
    return Shards(given(len(values), e=vectors(values, missing), c=LABELS), "e", count, key, max_bytes)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("key", [None, "c"])
@pytest.mark.parametrize("given", [rows, shuffled])
def test_each_row_with_a_vector_is_in_one_shard_with_its_unit_vector(count, key, given):
    with shards(count, key, given) as opened:
        parts = list(opened)
        assert [part.at.tolist() for part in opened] == [part.at.tolist() for part in parts]
    assert len(parts) == count
    whole = joined(parts)
    assert whole.at.tolist() == [number for number in range(30) if number != 3]
    assert whole.features == pytest.approx(unit(VALUES)[whole.at])
    assert all((np.diff(part.at) > 0).all() for part in parts)


def test_rows_of_one_label_lie_in_one_shard():
    for part in shards(3, "c"):
        mine = set(np.array(LABELS.to_pylist())[part.at])
        assert sum(label in mine for label in LABELS.to_pylist()) == len(part.at) + (
            "c3" in mine
        )  # row 3 has no vector


def test_vectors_that_are_not_finite_count_as_missing():
    values = VALUES.copy()
    values[5, 0], values[6, 1] = np.nan, np.inf
    with shards(1, values=values) as opened:
        usable = opened.usable()
    assert np.flatnonzero(~usable).tolist() == [3, 5, 6]


def test_too_many_bytes_are_refused_with_the_numbers_and_the_ways_out():
    with pytest.raises(
        ValueError, match=r"e, 30 rows x 4 numbers in 1 shards, needs about 480 bytes .* max_bytes is 100"
    ):
        shards(1, max_bytes=100).__enter__()
    with pytest.raises(ValueError, match="in 2 shards, needs about 240 bytes"):
        shards(2, max_bytes=100).__enter__()
    with shards(8, max_bytes=200) as opened:
        assert len(list(opened)) == 8


def test_picks_of_all_shards_that_do_not_fit_together_are_refused():
    with shards(8, max_bytes=200) as opened, pytest.raises(ValueError, match="lower the budget"):
        opened.collect(np.ones(30, bool))


def test_collecting_takes_the_wanted_rows_out_of_all_shards():
    wanted = np.zeros(30, bool)
    wanted[[2, 3, 17]] = True
    with shards(4) as opened:
        assert opened.collect(wanted).at.tolist() == [2, 17]


def test_a_zero_vector_stays_zero_and_no_rows_are_no_rows():
    assert unit(np.array([[0.0, 0], [3, 4]])).tolist() == [[0, 0], [0.6, 0.8]]
    assert joined([Part(np.zeros((0, 2), np.float32), np.zeros(0, int))]).features.shape[0] == 0


def test_the_column_is_read_once_whatever_is_asked():
    given = rows(30, e=vectors(VALUES), c=LABELS)
    reads = []
    given.blocks[0].read, inner = lambda columns: reads.append(columns) or inner(columns), given.blocks[0].read
    with Shards(given, "e", 4, "c", 10**6) as opened:
        for _ in range(3):
            opened.collect(opened.usable())
    assert reads == [("e", "c")]
