"""Rows from blocks to partitions and back."""

import numpy as np

from potstill.pipelines.neighbours import spill
from potstill.pipelines.rundir import RunDir

KIND = spill.record(np.dtype("<f2"), 2)


def written(folder, blocks, ends):
    before = [
        spill.write(folder, f"s/{number}", np.array(keys), np.array(groups), vectors(keys), np.array(ends))
        for number, (keys, groups) in enumerate(blocks)
    ]
    return list(spill.partitions(folder, KIND, [f"s/{number}" for number in range(len(blocks))], np.array(before)))


def vectors(keys):
    return np.stack([np.array(keys), -np.array(keys)], axis=1).astype(np.float16)


def rows(partition):
    return [(int(row["group"]), int(row["key"]), row["vector"].tolist()) for row in partition.read()]


def test_a_partition_has_the_rows_of_its_groups_by_group_and_key(tmp_path):
    first, second = written(RunDir(tmp_path), [([5, 3, 9], [0, 2, 1]), ([4, 1], [2, 0])], [1, 3])
    assert rows(first) == [(0, 1, [1, -1]), (0, 5, [5, -5])]
    assert rows(second) == [(1, 9, [9, -9]), (2, 3, [3, -3]), (2, 4, [4, -4])]


def test_how_rows_were_cut_into_blocks_does_not_show(tmp_path):
    one = written(RunDir(tmp_path / "a"), [([1, 2, 3, 4], [1, 0, 1, 0])], [2])
    other = written(RunDir(tmp_path / "b"), [([4], [0]), ([3, 2], [1, 0]), ([1], [1])], [2])
    assert rows(one[0]) == rows(other[0])


def test_a_partition_without_rows_is_empty(tmp_path):
    first, second = written(RunDir(tmp_path), [([1], [0])], [1, 2])
    assert rows(first) == [(0, 1, [1, -1])]
    assert rows(second) == []
