"""k-centre: its picks and its radius by hand; the rest in test_coreset.py."""

import numpy as np
import pytest

from potstill.pipelines.selectors.k_centre import KCentre
from tests.pipelines.selectors.sets import kept, rows, vectors

CORNERS = vectors([[1, 0], [3, 0], [0, 2], [-1, 0], [-1, 0.1]])


def test_length_of_vectors_means_nothing_and_the_farthest_row_is_next():
    # directions 0, 0, 90, 180, 174 degrees; the mean points to 89: row 2, then 0, then 3
    choice = KCentre(budget=3, embedding="e").select(rows(5, e=CORNERS), 0)
    assert choice.columns["k_centre_rank"].to_pylist() == [1, None, 0, 2, None]
    assert choice.columns["k_centre_nearest"].to_pylist() == pytest.approx([1, 1, 1, 1, 1 / np.hypot(1, 0.1)])


def test_the_radius_is_the_largest_distance_to_a_kept_row():
    stage = KCentre(budget=1, embedding="e")
    assert stage.objective(np.array([1.0, 0.5, 0.0]), 9) == pytest.approx(np.sqrt(2))
    assert kept(stage.select(rows(5, e=CORNERS), 0)) == [2]
