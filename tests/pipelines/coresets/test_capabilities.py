"""mmSSR's shares, worked out by hand."""

import numpy as np

from potstill.pipelines.coresets.capabilities import over_styles, share_out

NAN = np.nan
ONE = np.ones(1)


def served(scores, styles=None, weights=None, budget=4):
    scores = np.array(scores, float)
    styles = [np.arange(len(scores))] if styles is None else [np.array(style) for style in styles]
    weights = np.ones(scores.shape[1]) if weights is None else np.array(weights)
    return share_out(scores, styles, weights, budget).tolist()


def test_each_capability_takes_its_best_rows_in_turn_and_none_twice():
    scores = [[5, 5], [4, 1], [3, 4], [2, 3], [1, 2]]
    # two each: the first takes 0 and 1; for the second row 0 is gone, so 2 and 3
    assert served(scores) == [0, 0, 1, 1, -1]


def test_weights_split_the_budget():
    scores = [[5, 5], [4, 4], [3, 3], [2, 2], [1, 1]]
    assert served(scores, weights=[3, 1]) == [0, 0, 0, 1, -1]
    assert served(scores, weights=[1, 3]) == [0, 1, 1, 1, -1]


def test_a_capability_that_no_row_serves_leaves_its_share_to_the_others():
    assert served([[5, NAN], [4, NAN], [3, NAN], [2, NAN], [1, NAN]]) == [0, 0, 0, 0, -1]


def test_it_stops_when_the_rows_that_serve_anything_are_used_up():
    assert served([[5, NAN], [NAN, NAN], [NAN, 1]], budget=9) == [0, -1, 1]
    assert served(np.zeros((0, 2)), budget=9) == []


def test_the_smallest_style_goes_first_and_its_debt_is_carried_to_the_next():
    # styles of 1, 2 and 6 rows and a share of 6: 2 each; the first lacks 1, the second takes 2 of its 3, lacks 1,
    # so the third takes 2 + 1
    scores = np.arange(9, 0, -1.0)[:, None]
    assert served(scores, [[0, 1, 2, 3, 4, 5], [6, 7], [8]], budget=6) == [0, 0, 0, -1, -1, -1, 0, 0, 0]


def test_a_row_of_two_styles_is_taken_once_and_counts_for_the_smaller():
    member = np.array([[True, True, True], [True, False, False]])
    # one each: row 0 as the only one of its style, then row 1 of the other
    assert over_styles(np.array([7, 8, 9]), member, 2).tolist() == [7, 8]


def test_what_rounding_leaves_over_is_dealt_out_in_further_rounds():
    scores = np.arange(6, 0, -1.0)[:, None]
    assert served(scores, [[0, 1], [2, 3], [4, 5]], budget=5) == [0, 0, 0, 0, 0, -1]


def test_ties_go_to_the_first_row():
    assert served([[3], [3], [3]], budget=2) == [0, 0, -1]
