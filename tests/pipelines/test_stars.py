"""Who stands for whom: distances that can be read off."""

import numpy as np

from potstill.pipelines.stars import stars


def bits(*counts):
    """Hashes with the lowest so many bits set: two of them differ in the difference of their counts."""
    return np.array([(1 << count) - 1 for count in counts], np.uint64).reshape(-1, 1)


def settled(counts, limit, order=None, pictures=None):
    rows = len(counts)
    order = np.arange(rows) if order is None else np.array(order, int)
    found = stars(bits(*counts), limit, order, np.arange(rows) if pictures is None else np.array(pictures))
    return found.behind.tolist(), found.distance.tolist(), found.group.tolist()


def test_a_row_is_never_farther_from_what_stands_for_it_than_the_limit():
    assert settled([0, 4, 8, 12], 5) == ([-1, 0, -1, 2], [-1, 4, -1, 4], [0, 0, 0, 0])


def test_the_nearest_leader_stands_for_a_row_and_of_equally_near_ones_the_first():
    assert settled([0, 20, 9, 12, 10], 12)[0] == [-1, -1, 0, 1, 0]


def test_stars_that_share_a_row_are_one_group_and_others_are_not():
    assert settled([0, 10, 5, 30], 5)[2] == [0, 0, 0, 3]


def test_the_order_says_who_leads_and_rows_outside_of_it_are_not_compared():
    assert settled([0, 1, 2, 2], 2, order=[2, 1, 0]) == ([2, 2, -1, -1], [2, 1, -1, -1], [2, 2, 2, -1])


def test_rows_of_one_picture_do_not_stand_for_each_other():
    assert settled([7, 7, 7, 8], 3, pictures=[5, 5, 9, 8])[0] == [-1, -1, 0, 0]


def test_no_rows_have_no_stars():
    assert settled([], 3) == ([], [], [])
    assert settled([4, 4], 3, order=[]) == ([-1, -1], [-1, -1], [-1, -1])
