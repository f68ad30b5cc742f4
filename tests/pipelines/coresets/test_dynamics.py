"""Three measures of difficulty, by hand."""

import numpy as np
import pytest

from potstill.pipelines.coresets.dynamics import Dynamics, error_norm, margin, softmax

OUTPUTS = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
LABELS = np.array([0, 2])


def test_the_error_norm_is_the_distance_from_the_one_hot_label():
    assert error_norm(OUTPUTS, LABELS) == pytest.approx([np.sqrt(0.16 + 0.09 + 0.01), np.sqrt(0.04 + 0.49 + 0.81)])
    assert error_norm(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx([np.sqrt(2)])


def test_the_margin_is_to_the_largest_other_output():
    assert margin(OUTPUTS, LABELS) == pytest.approx([0.3, -0.6])


def test_softmax_does_not_overflow():
    assert softmax(np.array([[1000.0, 1000.0], [0, np.log(3)]])) == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]))


def test_forgetting_counts_falls_from_right_to_wrong_and_never_right_is_all_epochs():
    histories = np.array([[1, 0, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], bool)
    dynamics = Dynamics("abcd")
    for epoch, correct in enumerate(histories.T):
        dynamics.add(epoch, np.arange(4), correct)
    assert dynamics.forgetting().tolist() == [2, 0, 4, 1]


def test_rows_may_miss_epochs():
    dynamics = Dynamics("ab")
    dynamics.add(0, np.array([0]), np.array([True]))
    dynamics.add(3, np.array([1, 0]), np.array([False, False]))
    assert dynamics.forgetting().tolist() == [1, 1]
    assert dynamics.epochs.tolist() == [2, 1]


@pytest.mark.parametrize(("epoch", "at"), [(1, [1]), (0, [1]), (2, [1, 1])])
def test_a_row_twice_in_an_epoch_or_after_a_later_one_is_refused_with_its_id(epoch, at):
    dynamics = Dynamics("ab")
    dynamics.add(1, np.array([0, 1]), np.array([True, True]))
    with pytest.raises(ValueError, match=f"sample b: its epoch {epoch} comes a second time"):
        dynamics.add(epoch, np.array(at), np.ones(len(at), bool))
