"""Which choice is replied, and what makes choices ambiguous."""

from collections import Counter
from math import log

import pytest

from potstill.models.engines.choices import closed, draw_choice, shared
from potstill.models.engines.protocol import Sampling

TOTALS = [log(0.5), log(0.2), log(0.3)]


def test_the_likeliest_choice_is_taken_at_temperature_zero_and_the_first_of_equals():
    assert draw_choice(TOTALS, Sampling(seed=7)) == 0
    assert draw_choice([-2.0, -1.0, -1.0], Sampling()) == 1


def test_choices_are_drawn_as_often_as_their_probabilities_say():
    drawn = Counter(draw_choice(TOTALS, Sampling(temperature=1, seed=seed)) for seed in range(4000))
    assert [drawn[place] / 4000 for place in range(3)] == pytest.approx([0.5, 0.2, 0.3], abs=0.03)


def test_the_end_token_tells_a_choice_from_one_that_it_begins():
    assert closed(["1", "2"], "</s>") == ["1", "2"]
    assert closed(["10", "2", "1"], "</s>") == ["10</s>", "2</s>", "1</s>"]
    with pytest.raises(ValueError, match="begins another"):
        closed(["10", "1"], None)


@pytest.mark.parametrize("choices", [(), ("a", "a")])
def test_choices_must_be_some_and_different(choices):
    with pytest.raises(ValueError, match="one or more different texts"):
        closed(choices, "</s>")


@pytest.mark.parametrize(
    ("one", "other", "length"), [([1, 2, 3], [1, 2, 4, 5], 2), ([], [1], 0), ([1], [1, 2], 1), ([2], [1, 2], 0)]
)
def test_the_common_beginning_of_tokens(one, other, length):
    assert shared(one, other) == shared(other, one) == length
