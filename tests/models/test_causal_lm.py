import math

import pytest
import torch

from potstill.models import causal_lm
from potstill.models.causal_lm import CausalLm, windows
from tests.models.tiny_texts import bigrams, random_lm

# [PAD], <s>, a, b, c, d: after <s> and b anything is as likely; after a comes b, with 1/2, the others share the rest
EVEN = [0.0] * 6
LOGITS = [EVEN, EVEN, [0, 0, 0, math.log(5), 0, 0], EVEN, EVEN, EVEN]
FIRST = math.log2(6)


def test_bits_of_a_table_of_two_words_by_hand(tmp_path):
    reader = CausalLm(bigrams(tmp_path, LOGITS), device="cpu")
    bits, tokens = reader.bits(["a b", "a c", "b a b c", ""], batch_size=4)
    assert tokens.tolist() == [2, 2, 4, 0]
    assert bits == pytest.approx(
        [FIRST + 1, FIRST + math.log2(10), FIRST + FIRST + 1 + FIRST, 0],
        rel=1e-5,
    )


def test_a_long_text_in_windows_counts_each_token_once(tmp_path):
    folder = bigrams(tmp_path, LOGITS)
    text = " ".join("abcabbaacd" * 5)
    whole = CausalLm(folder, device="cpu").bits([text], 1)
    for window in (2, 3, 7, 8, 50):
        bits, tokens = CausalLm(folder, device="cpu", window=window).bits([text], 3)
        assert bits == pytest.approx(whole[0], rel=1e-5), "only the last token counts, and it is always there"
        assert tokens == whole[1]


def test_bits_are_those_of_a_walk_token_by_token_whatever_stands_beside_them(tmp_path):
    reader = CausalLm(random_lm(tmp_path), device="cpu")
    texts = ["a", "d c b a", "a b c d a b c d", "c c"]
    bits, _ = reader.bits(texts, batch_size=4)
    for text, total in zip(texts, bits, strict=True):
        ids = [1, *("abcd".index(letter) + 2 for letter in text.split())]
        expected = 0.0
        for place in range(1, len(ids)):
            with torch.inference_mode():
                logits = reader._model(input_ids=torch.tensor([ids[:place]])).logits[0, -1]
            expected -= logits.log_softmax(-1)[ids[place]].item() / math.log(2)
        assert total == pytest.approx(expected, rel=1e-5)
    assert reader.bits(texts, 1)[0] == pytest.approx(bits, rel=1e-6)
    assert reader.bits(texts[::-1], 3)[0][::-1] == pytest.approx(bits, rel=1e-6)


def test_a_large_vocabulary_makes_smaller_batches(tmp_path, monkeypatch):
    reader = CausalLm(random_lm(tmp_path), device="cpu")
    texts = ["a b c d", "d d", "b", "c a"]
    expected = reader.bits(texts, 4)[0]
    sizes = []
    forward = reader._forward
    monkeypatch.setattr(reader, "_forward", lambda rows, first: sizes.append(len(rows)) or forward(rows, first))
    monkeypatch.setattr(causal_lm, "LOGITS", 5 * 6)
    assert reader.bits(texts, 4)[0] == pytest.approx(expected, rel=1e-6)
    assert sizes == [1, 1, 2] or sizes == [1, 1, 1, 1]
    assert reader.bits([], 4)[0].shape == (0,)


def test_windows_overlap_by_half_and_say_what_is_new():
    assert windows(range(5), 8) == [([0, 1, 2, 3, 4], 1)]
    assert windows(range(9), 4) == [([0, 1, 2, 3], 1), ([2, 3, 4, 5], 2), ([4, 5, 6, 7], 2), ([6, 7, 8], 2)]
    assert windows(range(4), 3) == [([0, 1, 2], 1), ([1, 2, 3], 2)]
    assert windows([7], 4) == []


@pytest.mark.parametrize("size", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("count", [2, 3, 8, 20])
def test_windows_cover_every_position_but_the_first_once(size, count):
    new = [id_ for part, first in windows(range(count), size) for id_ in part[first:]]
    assert sorted(new) == list(range(1, count))


def test_a_tokenizer_without_a_beginning_is_refused(tmp_path):
    with pytest.raises(ValueError, match="set bos_token"):
        CausalLm(bigrams(tmp_path, [row[1:] for row in LOGITS[1:]], bos=False), device="cpu")
