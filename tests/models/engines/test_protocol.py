"""What a request may ask for."""

import pytest
from PIL import Image

from potstill.models.engines.protocol import Completion, Request, Sampling


def test_several_replies_have_the_seeds_after_the_first():
    sampling = Sampling(temperature=1, seed=2**63 + 4, n=3, max_tokens=9)
    assert sampling.each() == tuple(Sampling(temperature=1, seed=seed, max_tokens=9) for seed in (4, 5, 6))
    assert Sampling(seed=8).each() == (Sampling(seed=8),)


@pytest.mark.parametrize("settings", [{"n": 0, "temperature": 1}, {"n": 2}, {"n": -1}])
def test_no_reply_and_several_greedy_ones_are_refused(settings):
    with pytest.raises(ValueError, match="n must be 1 or more, and 1 at temperature 0"):
        Sampling(**settings)


def test_a_request_is_bounded_in_one_way():
    Request(prompt="x", schema={})
    with pytest.raises(ValueError, match="not by choices and schema and pattern"):
        Request(prompt="x", choices=("a",), schema={}, pattern="a")


def test_each_image_has_its_file_or_none_has():
    with pytest.raises(ValueError, match="1 encoded images for 2 images"):
        Request(prompt="x", images=(Image.new("RGB", (1, 1)),) * 2, encoded=(b"",))


def test_alternatives_count_their_own_tokens_and_the_prompt_once():
    each = [Completion(text, 7, count, "stop") for text, count in (("a", 1), ("bc", 2), ("d", 1))]
    joined = Completion.joined(each)
    assert (joined.text, joined.prompt_tokens, joined.completion_tokens) == ("a", 7, 1)
    assert joined.alternatives == (Completion("bc", 0, 2, "stop"), Completion("d", 0, 1, "stop"))
    assert Completion.joined(each[:1]) == each[0]
