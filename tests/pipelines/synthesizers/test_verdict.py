"""A judge's reply gives a score from 1 to 5, or it is an error: never a guess."""

import math

import pytest

from potstill.models.engines.protocol import Completion
from potstill.pipelines.synthesizers.synthesizer import UnparsableReply
from potstill.pipelines.synthesizers.verdict import SCORES, score, shares, verdict


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


def replied(text, odds=None, reason="stop"):
    logprobs = odds and {choice: math.log(odd) for choice, odd in odds.items()}
    return Completion(text, 1, 1, reason, choice_logprobs=logprobs)


def test_the_mean_score_is_that_of_the_probabilities_beside_the_likeliest_one():
    odds = dict(zip(SCORES, (0.1, 0.0001, 0.2, 0.3, 0.4), strict=True))
    likeliest, mean = score(replied("Score: 2", odds), "expected")
    assert likeliest == 5
    assert mean == pytest.approx((0.1 + 0.0002 + 0.6 + 1.2 + 2) / 1.0001)
    assert score(replied("Score: 2"), "text") == (2, None)
    even = dict.fromkeys(SCORES, 1e-30)
    assert score(replied("Score: 5", even), "expected") == (1, pytest.approx(3))


def test_probabilities_are_shares_of_the_allowed_replies_however_unlikely_they_are():
    assert shares(replied("yes", {"yes": 3e-200, "no": 1e-200})) == pytest.approx({"yes": 0.75, "no": 0.25})
    gone = Completion("yes", 1, 1, "stop", choice_logprobs={"yes": -2.0, "no": -math.inf})
    assert shares(gone) == {"yes": 1.0, "no": 0.0}


@pytest.mark.parametrize("logprobs", [None, {}, {"a": -math.inf, "b": -math.inf}, {"a": math.nan, "b": 0.0}])
def test_an_engine_without_probabilities_is_an_error_and_no_score(logprobs):
    with pytest.raises(ValueError, match="set `mode: text`, or take another engine"):
        score(Completion("Score: 5", 1, 1, "stop", choice_logprobs=logprobs), "expected")


def test_a_cut_off_reply_is_read_as_such():
    with pytest.raises(UnparsableReply):
        score(replied("there are 4", reason="length"), "text")
