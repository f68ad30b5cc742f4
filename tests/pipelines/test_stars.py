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


def test_near_rows_that_differ_in_a_field_are_apart_and_each_has_the_nearest_of_its_own_kind():
    fields = np.array([[5, 9], [5, 40], [6, 9], [5, 41], [5, 8]], np.uint8)
    found = stars(bits(0, 1, 2, 3, 4), 5, np.arange(5), np.arange(5), fields, 3)
    assert found.behind.tolist() == [-1, -1, 0, 1, 0]
    assert found.distance.tolist() == [-1, -1, 2, 2, 4]
    assert found.difference.tolist() == [-1, -1, 1, 1, 1]
    assert found.group.tolist() == [0, 1, 0, 1, 0]


def test_many_rows_of_two_kinds_come_out_as_by_comparing_all():
    rng = np.random.default_rng(4)
    hashes = rng.integers(0, 2**63, (40, 4), np.uint64)[rng.integers(0, 40, 1500)]
    hashes[:, 0] ^= np.uint64(1) << rng.integers(0, 64, 1500, np.uint64)
    fields = rng.integers(0, 2, (1500, 1), np.uint8) * np.uint8(100) + rng.integers(0, 4, (1500, 1), np.uint8)
    found = stars(hashes, 6, np.arange(1500), np.arange(1500), fields, 10)
    leaders = []
    for row in range(1500):
        near = [
            one
            for one in leaders
            if np.bitwise_count(hashes[one] ^ hashes[row]).sum() <= 6
            and abs(int(fields[one, 0]) - int(fields[row, 0])) <= 10
        ]
        assert (int(found.behind[row]) == -1) is (not near)
        leaders += [] if near else [row]
    assert len(leaders) == 80


def test_no_rows_have_no_stars():
    assert settled([], 3) == ([], [], [])
    assert settled([4, 4], 3, order=[]) == ([-1, -1], [-1, -1], [-1, -1])
