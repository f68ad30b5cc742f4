"""Keys as numbers, and what hangs together."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.pipelines.keys import components, numbered, together


def test_equal_values_get_equal_numbers_and_null_gets_none():
    numbers, values = numbered(pa.array(["b", None, "a", "b"]))
    assert (numbers.tolist(), values.to_pylist()) == ([0, -1, 1, 0], ["b", "a"])


def test_rows_are_equal_when_all_their_columns_are():
    one, two = pa.array(["a", "a", "b", None, "a"]), pa.array([1, 2, 1, 1, 1])
    numbers = together([one, two])
    assert numbers[0] == numbers[4]
    assert len(set(numbers.tolist())) == 4
    assert numbers[3] == -1


def test_a_column_of_lists_is_no_key():
    with pytest.raises(ValueError, match="is no key"):
        numbered(pa.array([[1], [2]]))


def test_two_pairs_with_a_common_end_are_one_component():
    assert components(5, np.array([4, 2]), np.array([2, 1])).tolist() == [0, 1, 1, 3, 1]
    assert components(0, np.array([], int), np.array([], int)).tolist() == []


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60))
def test_components_are_what_walking_along_the_edges_reaches(count, edges):
    edges = [(one % count, other % count) for one, other in edges]
    reach = {node: {node} for node in range(count)}
    for one, other in edges:
        joined = reach[one] | reach[other]
        for node in joined:
            reach[node] = joined
    ones, others = (np.array([edge[end] for edge in edges], int) for end in (0, 1))
    assert components(count, ones, others).tolist() == [min(reach[node]) for node in range(count)]
