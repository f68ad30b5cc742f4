"""Class vectors from prompts, with a toy encoder whose vectors are known."""

import numpy as np
import pytest

from potstill.models.metrics.zero_shot import TEMPLATES, class_vectors, prompts

ROWS = {"a cat": [3, 0], "one cat": [0, 0.5], "a dog": [0, 2], "one dog": [0, 7]}


def encode(texts):
    return np.array([ROWS[text] for text in texts], dtype=np.float32)


def test_every_class_stands_in_every_template():
    assert prompts(["cat", "dog"], ["a {}", "one {}"]) == ["a cat", "one cat", "a dog", "one dog"]
    assert len(prompts(["cat"])) == len(TEMPLATES) == 7
    assert prompts(["{0} {x}"], ["a {}"]) == ["a {0} {x}"]


def test_a_class_is_the_direction_of_the_mean_of_unit_vectors():
    # cat: (1, 0) and (0, 1) whatever their lengths, so their bisector; dog: (0, 1) twice
    found = class_vectors(encode, ["cat", "dog"], ["a {}", "one {}"])
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-7)
    assert found.dtype == np.float32


def test_one_template_gives_the_texts_own_directions_and_zero_stays_zero():
    np.testing.assert_allclose(class_vectors(encode, ["cat", "dog"], ["one {}"]), [[0, 1], [0, 1]])
    np.testing.assert_array_equal(class_vectors(lambda texts: np.zeros((len(texts), 3)), ["x"], ["{}"]), [[0, 0, 0]])


def test_a_template_without_a_place_is_refused():
    with pytest.raises(ValueError, match=r"template 'a photo' has no \{\}"):
        class_vectors(encode, ["cat"], ["a {}", "a photo"])
    with pytest.raises(ValueError, match="no template"):
        prompts(["cat"], [])
