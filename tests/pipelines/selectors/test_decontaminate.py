"""Rows that are in an evaluation set, or nearly, go."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.decontaminate import Decontaminate

VECTOR = pa.list_(pa.float32(), 2)
NAME = "decontaminate"


def pattern(seed, flips=0):
    bits = np.zeros(256, np.uint8)
    bits[np.random.default_rng(seed).permutation(256)[:128]] = 1
    bits[:flips] ^= 1
    return np.packbits(bits).tobytes()


@pytest.fixture
def against(tmp_path):
    table = pa.table({
        "sample_id": ["e0", "e1", "e2"],
        "image_id": ["p", "q", "r"],
        "phash": pa.array([pattern(0), pattern(1), bytes(32)], pa.binary(32)),
        "vector": pa.array([[1, 0], [0, 1], [1, 1]], VECTOR),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "evaluation.parquet")
    return str(tmp_path / "evaluation.parquet")


def choose(unit):
    rows = RowSet.of(
        ["a", "b", "c", "d", "e"],
        image_id=["q", "x", "y", "z", "w"],
        phash=pa.array([pattern(9), pattern(1, 48), pattern(0, 49), bytes(32), None], pa.binary(32)),
        vector=pa.array([[-1, 0], [-1, 0], [-1, 0], [-1, -1], [3, 2.9]], VECTOR),
    )
    return unit.select(rows, 0)


def test_a_row_goes_for_the_first_thing_that_it_shares_and_says_with_whom(against):
    choice = choose(Decontaminate(against=against, keys=("image_id",), hash="phash", embedding="vector"))
    assert choice.keep.tolist() == [False, False, True, True, False]
    assert choice.reasons.tolist() == ["same_key", "near_hash", None, None, "near_embedding"]
    assert choice.columns[f"{NAME}_match"].to_pylist() == ["e1", "e1", None, None, "e2"]
    assert choice.columns[f"{NAME}_distance"].to_pylist() == [None, 48, None, None, None]
    np.testing.assert_allclose(choice.columns[f"{NAME}_cosine"].to_pylist()[3:], [-1 / np.sqrt(2), 0.99986], atol=1e-4)


def test_only_what_is_asked_for_is_compared(against):
    assert choose(Decontaminate(against=against, keys=("image_id",))).keep.tolist() == [False, *[True] * 4]
    assert choose(Decontaminate(against=against, hash="phash", max_distance=49)).keep.tolist() == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert choose(Decontaminate(against=against, embedding="vector", min_cosine=1)).keep.all()


def test_the_content_of_the_evaluation_set_is_part_of_the_identity(against):
    unit = Decontaminate(against=against, keys=("image_id",))
    before = unit.identity()
    pq.write_table(pa.table({"sample_id": ["e9"], "image_id": ["w"]}), against)
    assert unit.identity() != before
    assert choose(unit).keep.tolist() == [True] * 4 + [False]


def test_a_plan_that_compares_nothing_is_refused(against):
    with pytest.raises(ValidationError, match="give keys, hash or embedding"):
        Decontaminate(against=against)
