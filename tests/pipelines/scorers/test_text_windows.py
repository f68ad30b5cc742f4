"""Long texts in windows: where they are cut, and what becomes of their embeddings."""

import numpy as np

from potstill.pipelines.scorers.text_windows import embed_texts, joined, pieces


def longer_than(limit):
    return lambda texts: [len(text.split()) > limit for text in texts]


def test_texts_are_halved_between_words_until_each_piece_fits():
    found = pieces(["a b c d e", "a b", "word"], longer_than(2))
    assert found == {"a b c d e": ["a b", "c", "d e"], "a b": ["a b"], "word": ["word"]}
    assert all(" ".join(parts) == text for text, parts in found.items())
    assert pieces([], longer_than(2)) == {}


def test_a_word_that_is_too_long_alone_is_left_to_the_model():
    assert pieces(["endless", "two endless"], lambda texts: [True] * len(texts)) == {
        "endless": ["endless"],
        "two endless": ["two", "endless"],
    }


def test_pieces_become_one_vector():
    rows = np.array([[1, 0], [0, 1.0]])
    np.testing.assert_allclose(joined(rows, None, "mean"), np.sqrt([0.5, 0.5]))
    assert joined(rows, np.array([0.6, 0.8]), "max").tolist() == [0, 1]
    np.testing.assert_allclose(joined(rows, None, "max"), np.sqrt([0.5, 0.5]))
    assert joined(np.array([[1, 0], [-1, 0.0]]), None, "mean").tolist() == [0, 0]


class Letters:
    """Two-dimensional embeddings of single letters; reads one word."""

    def truncated(self, texts):
        return [len(text.split()) > 1 for text in texts]

    def encode_texts(self, texts, batch_size):
        return np.array([{"a": [1, 0.0], "b": [0, 1.0]}.get(text.split()[0]) for text in texts]).reshape(-1, 2)


def test_each_row_gets_the_vector_of_its_text():
    up = np.array([0, 1.0])
    found = embed_texts(Letters(), ["a b", "", "a"], [up, None, None], "max", 8)
    assert found[0].tolist() == [0, 1]
    assert found[1] is None
    assert found[2].tolist() == [1, 0]
    assert embed_texts(Letters(), ["a b"], [up], "first", 8)[0].tolist() == [1, 0]
    np.testing.assert_allclose(embed_texts(Letters(), ["a b"], [up], "mean", 8)[0], np.sqrt([0.5, 0.5]))
