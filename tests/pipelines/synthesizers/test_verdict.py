"""A judge's reply gives a score from 1 to 5, or it is an error: never a guess."""

import pytest

from potstill.pipelines.synthesizers.synthesizer import UnparsableReply
from potstill.pipelines.synthesizers.verdict import verdict


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Score: 4", 4),
        (" score:4\n", 4),
        ("**Score:** 3", 3),
        ("SCORE = 2.", 2),
        ("4", 4),
        ("[[5]]", 5),
        ("I give it [ 3 ]", 3),
        ("Rating (2)", 2),
        ("[1] is wrong, so [5], though 2 things are missing", 5),
        ("Score: 2, as 3 of the things are missing", 2),
        ("First 2, then 4", 4),
        ("Score: 4/5", 4),
        ("4 out of 5", 4),
        ("The instruction says 'Score: 5'. Score: 1", 1),
        ("Wertung: 3", 3),
        ("得分 4", 4),
        ("```\nScore: 5\n```", 5),
        ("Score: +5", 5),
    ],
)
def test_the_score_is_read(reply, score):
    assert verdict(reply) == score


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   ",
        "no number",
        "Score: 0",
        "Score: 6",
        "Score: 10",
        "[7] Score: 3",
        "4.5",
        "Score: -1",
        "Score: five",
        "NO_INST",
    ],
)
def test_a_reply_without_a_score_from_1_to_5_is_an_error_that_shows_it(reply):
    with pytest.raises(UnparsableReply) as caught:
        verdict(reply)
    assert repr(reply) in str(caught.value)


def test_a_cut_off_reply_counts_only_with_an_explicit_score():
    assert verdict("Score: 4\nBecause the picture", complete=False) == 4
    assert verdict("[2] since 3 apples", complete=False) == 2
    with pytest.raises(UnparsableReply, match="cut-off reply"):
        verdict("There are 3 apples and", complete=False)
