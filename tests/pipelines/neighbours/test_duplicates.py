"""Near duplicates in memory: what comes before a row, and who stands for whom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potstill.pipelines.neighbours import duplicates
from potstill.pipelines.neighbours.directions import cosines, directions
from potstill.pipelines.neighbours.duplicates import earlier, match, stars
from potstill.pipelines.neighbours.spill import Partition, partitions, record, write
from potstill.pipelines.rundir import RunDir
from tests.pipelines.neighbours.worlds import angle, mixture


def test_the_closest_row_before_and_the_pairs_worked_by_hand():
    best, pairs, found = earlier(directions(angle(0, 50, 10, 5)), np.cos(np.deg2rad(11)))
    np.testing.assert_allclose(best, [np.nan, *np.cos(np.deg2rad([50, 10, 5]))], atol=1e-6)
    assert pairs.tolist() == [[2, 0], [3, 0], [3, 2]]
    np.testing.assert_allclose(found, np.cos(np.deg2rad([10, 5, 5])), atol=1e-6)


def test_a_tile_changes_nothing(monkeypatch):
    units = directions(mixture(500, centres=60, spread=0.3)[0])
    whole = earlier(units, 0.9)
    monkeypatch.setattr(duplicates, "TILE", 37)
    for one, other in zip(earlier(units, 0.9), whole, strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def test_all_close_rows_before_a_row_are_found():
    units = directions(mixture(300, centres=60, spread=0.3)[0])
    cosine = cosines(units, units, np.tile(np.arange(300), (300, 1)))
    before = np.tril(cosine, -1)
    best, pairs, _ = earlier(units, 0.9)
    assert np.array_equal(best[1:], np.where(np.tri(300, k=-1), cosine, -2).max(axis=1)[1:])
    expected = np.argwhere(before >= 0.9)
    assert len(expected) > 0
    assert np.bincount(expected[:, 0]).max() <= duplicates.EDGES
    assert np.array_equal(pairs, expected)


def test_of_many_close_rows_before_a_row_the_first_are_remembered(monkeypatch):
    monkeypatch.setattr(duplicates, "EDGES", 2)
    _, pairs, _ = earlier(directions(angle(0, 1, 2, 3)), 0.99)
    assert pairs.tolist() == [[1, 0], [2, 0], [2, 1], [3, 0], [3, 1]]


def behind(rows, pairs, cosine=None):
    pairs = np.array(pairs, np.int64).reshape(-1, 2)
    return stars(rows, pairs, np.ones(len(pairs)) if cosine is None else np.array(cosine)).tolist()


def test_a_chain_does_not_shrink_to_its_first_row():
    assert behind(5, [[1, 0], [2, 1], [3, 2], [4, 3]]) == [-1, 0, -1, 2, -1]


def test_a_dropped_row_stands_behind_the_closest_kept_row_of_equal_ones_the_first():
    assert behind(3, [[2, 0], [2, 1]], [0.96, 0.98]) == [-1, -1, 1]
    assert behind(3, [[2, 1], [2, 0]], [0.97, 0.97]) == [-1, -1, 0]
    assert behind(4, [[1, 0], [3, 1], [3, 2]], [0.99, 0.99, 0.96]) == [-1, 0, -1, 2]


def test_without_pairs_all_are_kept():
    assert behind(3, []) == [-1, -1, -1]
    assert behind(0, []) == []


@settings(deadline=None, max_examples=200)
@given(st.integers(2, 12), st.data())
def test_rows_are_decided_as_if_one_after_the_other(rows, data):
    some = st.tuples(st.integers(0, rows - 1), st.integers(0, rows - 1)).filter(lambda pair: pair[0] > pair[1])
    pairs = data.draw(st.lists(some, max_size=30))
    kept = []
    for row in range(rows):
        if not any(one == row and before in kept for one, before in pairs):
            kept.append(row)
    found = behind(rows, pairs)
    assert [row for row in range(rows) if found[row] < 0] == kept
    assert all((row, before) in pairs for row, before in enumerate(found) if before >= 0)


def spilled(folder, units, groups):
    kind = record(np.dtype("<f4"), units.shape[1])
    keys = 10 * np.arange(len(units))
    before = write(RunDir(folder), "s", keys, np.array(groups), units, np.array([max(groups) + 1]))
    return next(partitions(RunDir(folder), kind, ["s"], before[None]))


def test_rows_are_compared_within_their_group_and_named_by_their_key(tmp_path):
    part = spilled(tmp_path, directions(angle(0, 1, 2, 3)), [0, 1, 0, 1])
    keys, best, pairs, found = match(part, 0.99)
    assert keys.tolist() == [0, 20, 10, 30]
    np.testing.assert_allclose(best, [np.nan, np.cos(np.deg2rad(2))] * 2, atol=1e-6)
    assert pairs.tolist() == [[20, 0], [30, 10]]
    np.testing.assert_allclose(found, [np.cos(np.deg2rad(2))] * 2, atol=1e-6)


def test_a_partition_without_rows_matches_nothing(tmp_path):
    keys, best, pairs, found = match(Partition(RunDir(tmp_path), record(np.dtype("<f2"), 4), ()), 0.9)
    assert (len(keys), len(best), pairs.shape, len(found)) == (0, 0, (0, 2), 0)


@pytest.mark.parametrize("cap", [50, 200])
def test_a_large_group_is_split_and_loses_few_pairs(tmp_path, monkeypatch, cap):
    units = directions(mixture(1000, centres=300, spread=0.15)[0])
    part = spilled(tmp_path, units, [0] * len(units))
    whole = {tuple(pair) for pair in match(part, 0.95)[2].tolist()}
    monkeypatch.setattr(duplicates, "CAP", cap)
    keys, best, pairs, _ = match(part, 0.95)
    found = {tuple(pair) for pair in pairs.tolist()}
    assert found <= whole
    assert len(found) > 0.98 * len(whole) > 0
    assert set(keys.tolist()) == set(range(0, 10_000, 10))
    assert len(best) == len(keys) > 1000
