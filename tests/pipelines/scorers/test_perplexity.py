import math

import numpy as np
import pytest
from pydantic import ValidationError

from potstill.models.tiny.scenes import sample_scene
from potstill.pipelines.scorers.perplexity import Perplexity
from tests.models.tiny_texts import bigrams
from tests.pipelines.scorers.tables import texts

EVEN = [0.0] * 6


def test_an_even_model_of_six_tokens_has_perplexity_six(tmp_path):
    stage = Perplexity(name="p", model=bigrams(tmp_path, [EVEN] * 6), device="cpu")
    result = stage.build()(texts("a b c", None, "d", " ", "a b c", "\u05d0 \u05d1"))
    assert result["p"] == [pytest.approx(6, rel=1e-5), None, pytest.approx(6, rel=1e-5), None, *[pytest.approx(6)] * 2]
    assert result["p_tokens"] == [3, None, 1, None, 3, 2]
    assert result["p_bits_per_token"][0] == pytest.approx(math.log2(6), rel=1e-5)
    per_character = result["p_bits_per_character"]
    assert per_character[0] == pytest.approx(3 * math.log2(6) / 5, rel=1e-5)
    assert per_character[2] == pytest.approx(math.log2(6), rel=1e-5)
    assert stage.build()(texts("a").slice(0, 0))["p"] == []


def test_the_embedded_model_is_more_surprised_by_garbled_captions_than_by_true_ones():
    rng = np.random.default_rng(5)
    captions = [sample_scene(rng).caption() for _ in range(12)]
    garbled = [" ".join(rng.permutation(caption.split())) for caption in captions]
    score = Perplexity(device="cpu").build()
    right, wrong = (np.array(score(texts(*part))["perplexity_bits_per_character"]) for part in (captions, garbled))
    assert (wrong > right).all()


def test_batches_and_order_change_nothing_to_speak_of(tmp_path):
    table = texts(*(" ".join("abcd"[number % 4] * (number % 9 + 1)) for number in range(20)))
    folder = bigrams(tmp_path, [[0, 0, 1, 2, 3, 4]] * 6)
    one, many = (Perplexity(model=folder, batch_size=size, device="cpu").build() for size in (1, 8))
    expected = one(table)["perplexity"]
    assert many(table)["perplexity"] == pytest.approx(expected, rel=1e-5)
    assert many(table.take(list(range(20))[::-1]))["perplexity"][::-1] == pytest.approx(expected, rel=1e-5)


def test_the_identity_is_the_model_and_speed_is_no_part_of_it(tmp_path):
    folder = bigrams(tmp_path, [EVEN] * 6)
    assert "digest" in Perplexity(model=folder).identity()
    assert set(Perplexity.speed) == {"batch_size", "device"}
    with pytest.raises(ValidationError, match="window"):
        Perplexity(window=1)
