"""Facility location: its picks and its value by hand; the rest in test_coreset.py."""

import numpy as np
import pytest

from potstill.pipelines.selectors.facility_location import FacilityLocation
from tests.pipelines.selectors.sets import rows, vectors


def test_the_middle_of_each_bunch_the_larger_bunch_first():
    degrees = np.radians([-6, -2, 0, 2, 6, 175, 180, 185])
    fan = vectors(np.stack([np.cos(degrees), np.sin(degrees)], axis=1))
    choice = FacilityLocation(budget=2, embedding="e").select(rows(8, e=fan), 0)
    assert choice.columns["facility_location_rank"].to_pylist() == [None, None, 0, None, None, None, 1, None]
    near = choice.columns["facility_location_nearest"].to_pylist()
    assert near == pytest.approx(np.cos(np.radians([6, 2, 0, 2, 6, 5, 0, 5])), abs=1e-6)


def test_the_value_is_the_mean_similarity_from_nought_to_one():
    stage = FacilityLocation(budget=1, embedding="e")
    assert stage.objective(np.array([1, 0, -1], np.float32), 9) == pytest.approx(0.5)
