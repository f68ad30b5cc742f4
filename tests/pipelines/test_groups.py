"""A number for each group that depends on the group alone."""

import numpy as np
import pyarrow as pa

from potstill.pipelines.groups import draw


def test_numbers_are_spread_evenly_also_for_groups_of_many_keys():
    keys = [f"k{n}" for n in range(4000)]
    numbers = draw({"a": pa.array(keys)}, np.zeros(4000, np.uint64), "s")
    assert abs(np.histogram(numbers, bins=10, range=(0, 1))[0] - 400).max() < 90
    joined = {"a": pa.array(keys), "b": pa.array([f"g{n // 20}" for n in range(4000)])}
    of_groups = np.unique(draw(joined, np.zeros(4000, np.uint64), "s"))
    assert len(of_groups) == 200
    assert abs(of_groups.mean() - 0.5) < 0.07


def test_rows_without_a_key_draw_by_their_own_number():
    numbers = draw({"a": pa.array([None, None, "x"])}, np.array([5, 6, 7], np.uint64), "s")
    again = draw({"a": pa.array([None, "x", None])}, np.array([6, 9, 5], np.uint64), "s")
    assert numbers[0] == again[2]
    assert numbers[1] == again[0]
    assert len(set(numbers.tolist())) == 3


def test_the_same_value_in_two_columns_is_two_keys_and_another_seed_another_number():
    one = draw({"a": pa.array(["x", None]), "b": pa.array([None, "x"])}, np.array([1, 2], np.uint64), "s")
    assert one[0] != one[1]
    assert draw({"a": pa.array(["x"])}, np.array([1], np.uint64), "t")[0] != one[0]
