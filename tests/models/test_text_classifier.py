import numpy as np
import pytest
import torch

from potstill.models.text_classifier import TextClassifier
from tests.models.tiny_texts import classifier


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return TextClassifier(classifier(tmp_path_factory.mktemp("one")), device="cpu")


def alone(judge, ids):
    """The probabilities of one row of token ids, straight from the model."""
    with torch.inference_mode():
        return judge._model(input_ids=torch.tensor([ids])).logits[0].softmax(-1).numpy()


def test_probabilities_are_the_models_own_and_padding_changes_nothing(one):
    found = one.probabilities(["a", "b c d a b", "d d"], batch_size=3)
    assert found.shape == (3, 3)
    assert found.sum(axis=1) == pytest.approx(1)
    for row, ids in zip(found, ([1, 3, 2], [1, 4, 5, 6, 3, 4, 2], [1, 6, 6, 2]), strict=True):
        assert row == pytest.approx(alone(one, ids), abs=1e-6)
    assert one.probabilities(["a", "b c d a b", "d d"], batch_size=1) == pytest.approx(found, abs=1e-6)


def test_a_long_text_is_read_in_windows_and_the_greatest_share_counts(one):
    letters = ["a"] * 20 + ["d"] * 8
    text = " ".join(letters)
    ids = [3] * 20 + [6] * 8
    # 16 positions less two specials: 14 letters, a step of 14 - 3 = 11
    windows = [[1, *ids[start : start + 14], 2] for start in (0, 11, 22)]
    expected = np.max([alone(one, window) for window in windows], axis=0)
    assert one.probabilities([text], batch_size=2)[0] == pytest.approx(expected, abs=1e-6)


def test_labels_that_do_not_exclude_each_other_have_shares_of_their_own(tmp_path):
    judge = TextClassifier(classifier(tmp_path, multi_label=True), device="cpu")
    with torch.inference_mode():
        expected = judge._model(input_ids=torch.tensor([[1, 3, 4, 2]])).logits[0].sigmoid().numpy()
    assert judge.probabilities(["a b"], batch_size=8)[0] == pytest.approx(expected, abs=1e-6)


def test_columns_by_label_and_no_texts(one):
    assert one.columns(["threat", "rude"]) == [2, 1]
    with pytest.raises(ValueError, match="'nasty'; labels: fine, rude, threat"):
        one.columns(["nasty"])
    assert one.probabilities([], batch_size=4).shape == (0, 3)
