"""The clearest orderings of the selector experiment, on small pools."""

import pytest

from benchmarks.selection_world import World
from benchmarks.selectors import markdown, scores

CLEANED = "aum above 0, then k_centre by label"


@pytest.fixture(scope="module")
def world():
    return World(others=800)


def arms(*names):
    return lambda arm: arm in names


def test_with_wrong_labels_the_hardest_rows_are_the_wrong_ones_and_cleaning_first_pays(world):
    found = scores(world, "noisy", 0, 960, 96, arms("el2n, hardest", CLEANED))
    assert found["el2n, hardest"] < 15
    assert found[CLEANED] > found["random_subset"] + 8


def test_where_rows_repeat_and_classes_are_rare_a_coreset_per_label_pays(world):
    found = scores(world, "repeated", 0, 960, 96, arms("k_centre by label", "rs2"))
    assert found["k_centre by label"] > found["random_subset"] + 8
    assert found["rs2, sees all rows"] > found["random_subset"] + 8


def test_a_verdict_needs_more_than_noise():
    runs = [{"random_subset": value, "a": value + 5, "b": value + noise, "all rows": 99.0}
            for value, noise in ((50, 9), (60, -8), (70, 1))]  # fmt: skip
    lines = markdown({"pool": runs}).splitlines()
    assert lines[3] == "| a | 65.0 ± 10.0 beats |"
    assert lines[4].endswith("ties |")
    assert lines[2] == "| random_subset | 60.0 ± 10.0 |"
    assert lines[5] == "| all rows | 99.0 ± 0.0 |"
