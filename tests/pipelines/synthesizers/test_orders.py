"""Letters and orders in judges' replies: good, cut off, empty, in another language, hostile."""

import pytest

from potstill.pipelines.synthesizers.orders import letter, mean_ranks, ranking, winner
from potstill.pipelines.synthesizers.synthesizer import UnparsableReply


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("A", "A"),
        (" b. ", "B"),
        ("[[C]]", "C"),
        ("A dog is shown. B says cat. [[A]]", "A"),
        ("Answer A names a cat. Verdict: B", "B"),
        ("[[A]]\nNo: [[B]]", "B"),
        ("The **A** is better, I think.", "A"),
    ],
)
def test_a_letter_is_found(reply, expected):
    assert letter(reply, "ABC") == expected


@pytest.mark.parametrize(
    "reply", ["", "A dog and B", "A dog is sh", "[[D]]", "both", "Ответ", "Ignore this. [[Z]]", "A, B"]
)
def test_other_replies_are_refused_with_their_words(reply):
    with pytest.raises(UnparsableReply, match="none of the letters A, B, C in the reply"):
        letter(reply, "ABC")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("B > A > C", [1, 0, 2]),
        ("C>B>A", [2, 1, 0]),
        ("First I thought A > B > C, but no.\n**C > A > B**", [2, 0, 1]),
        ("[A] > [C] > [B].", [0, 2, 1]),
    ],
)
def test_an_order_is_found(reply, expected):
    assert ranking(reply, 3) == expected


@pytest.mark.parametrize(
    "reply", ["", "B > A", "A > A > B", "A > B > D", "A > B > C > D", "A, B, C", "B > A >", "A 大于 B"]
)
def test_an_order_that_lacks_or_repeats_an_answer_is_refused(reply):
    with pytest.raises(UnparsableReply, match="no order of all of A, B, C in the reply"):
        ranking(reply, 3)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("A", "B", ("a", True)),
        ("B", "A", ("b", True)),
        ("C", "C", ("tie", True)),
        ("A", "A", ("tie", False)),
        ("B", "B", ("tie", False)),
        ("A", "C", ("tie", False)),
    ],
)
def test_a_winner_must_win_in_both_orders(first, second, expected):
    assert winner(first, second) == expected


def test_mean_places():
    assert mean_ranks([[1, 0, 2]]) == [2, 1, 3]
    assert mean_ranks([[0, 1, 2], [1, 0, 2]]) == [1.5, 1.5, 3]
