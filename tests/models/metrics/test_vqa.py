"""Answers compared as the standard compares them, worked out by hand."""

from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.models.metrics.vqa import CONTRACTIONS, anls, edit_distance, exact_match, normalise, soft_accuracy


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("Yes.", "yes"),
        (" The  Dog\n", "dog"),
        ("two dogs and an owl", "2 dogs and owl"),
        ("none", "0"),
        ("eleven", "eleven"),
        ("red/blue", "red blue"),  # a mark between words becomes a space
        ("red, blue", "red blue"),  # beside a space it goes
        ("1,000", "1000"),
        ("1,000/day", "1000day"),  # with a number such as 1,000 every mark goes
        ("3.5", "3.5"),
        ("5.", "5"),
        ("dont know", "don't know"),
        ("couldntve", "couldn't've"),
        ("'cat'", "'cat'"),
        ("the", ""),
        ("", ""),
    ],
)
def test_normalise(answer, normal):
    assert normalise(answer) == normal


def test_contractions_lead_to_their_full_form_from_any_lazy_one():
    assert {lazy for lazy, word in CONTRACTIONS.items() if word == "y'all'd've"} == {
        "y'all'd've", "y'all'dve", "y'alld've", "y'alldve", "yall'd've", "yall'dve", "yalld've", "yalldve",
    }  # fmt: skip


def test_exact_match_is_with_any_answer_after_normalisation():
    assert exact_match("Two dogs.", ["a cat", "2 dogs"]) == 1
    assert exact_match("two dogs", ["two"]) == 0
    assert exact_match("", ["the"]) == 1


@pytest.mark.parametrize(("matches", "score"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_soft_accuracy_of_ten_answers_has_the_known_values(matches, score):
    # three matches: a matching one left out leaves 2/3, another leaves 1: (3 * 2/3 + 7) / 10 = 0.9
    answers = ["Red"] * matches + ["blue"] * (10 - matches)
    assert soft_accuracy("red", answers) == pytest.approx(score)


def test_soft_accuracy_of_few_answers():
    assert soft_accuracy("red", ["red"]) == 1
    assert soft_accuracy("red", ["blue"]) == 0
    assert soft_accuracy("red", ["red", "red"]) == 1
    # of two: the match left out leaves 0 of 1, the other leaves 1 of 1
    assert soft_accuracy("red", ["red", "blue"]) == pytest.approx(0.5)
    assert soft_accuracy("red", ["red"] * 3) == 1


def test_anls_by_hand():
    assert anls("Hello", ["hello"]) == 1
    assert anls("helo", ["hello"]) == pytest.approx(1 - 1 / 5)
    assert anls("hxlxo", ["hello"]) == pytest.approx(1 - 2 / 5)
    assert anls("ab", ["cd"]) == 0
    # two edits in four letters are exactly one half: too far, unless the threshold says otherwise
    assert anls("abxx", ["abcd"]) == 0
    assert anls("abxx", ["abcd"], threshold=0.6) == pytest.approx(0.5)
    assert anls("helo", ["world", "hello", "help"]) == pytest.approx(0.8)
    assert anls("a  b", ["A B"]) == 1
    assert anls("", [""]) == 1 and anls("", ["x"]) == 0


def test_answers_must_be_some_and_a_list():
    for metric in (exact_match, soft_accuracy, anls):
        for answers in ([], "red"):
            with pytest.raises(ValueError, match="list of at least one text"):
                metric("red", answers)


@lru_cache(None)
def plain(one, two):
    """The recursive definition of the distance."""
    if not one or not two:
        return len(one) + len(two)
    swap = plain(one[:-1], two[:-1]) + (one[-1] != two[-1])
    return min(plain(one[:-1], two) + 1, plain(one, two[:-1]) + 1, swap)


@given(st.text("abé", max_size=9), st.text("abé", max_size=9))
def test_edit_distance_is_the_least_number_of_edits(one, two):
    assert edit_distance(one, two) == plain(one, two)


def test_edit_distance_of_texts_longer_than_a_machine_word():
    one = "abcdefghij" * 30
    assert edit_distance(one, one[:100] + "x" + one[100:]) == 1
    assert edit_distance(one, one[5:]) == 5
    assert edit_distance(one, "z" * 300) == 300
