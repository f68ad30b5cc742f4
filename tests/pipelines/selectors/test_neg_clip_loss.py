"""s-CLIPLoss: by hand, against hubs, whatever the order of rows."""

import numpy as np
import pyarrow as pa
import pytest

from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.neg_clip_loss import NegClipLoss, log_sum_exp, neg_clip_loss

EYE = np.eye(2, dtype=np.float32)


def test_two_pairs_by_hand():
    scores = neg_clip_loss(EYE, EYE, 1.0, 2, [np.arange(2)])
    np.testing.assert_allclose(scores, 1 - np.log(np.e + 1), rtol=1e-6)


def test_a_caption_that_fits_everybody_scores_below_one_that_fits_its_picture():
    rng = np.random.default_rng(0)
    images = unit(rng.normal(size=(64, 16)))
    texts = images.copy()
    hub = unit(images.mean(0, keepdims=True))
    texts[:8] = unit(0.6 * images[:8] + 0.8 * hub)
    scores = neg_clip_loss(images, texts, 0.07, 64, [np.arange(64)])
    assert scores[:8].max() < scores[8:].min()


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_batches_are_equally_large_so_that_their_scores_can_be_compared():
    same = np.repeat(EYE[:1], 5, axis=0)
    np.testing.assert_allclose(neg_clip_loss(same, same, 0.5, 3, [np.arange(5)]), -0.5 * np.log(3), rtol=1e-6)


def test_low_temperatures_do_not_overflow():
    scores = neg_clip_loss(EYE, EYE, 1e-4, 2, [np.arange(2)])
    assert np.isfinite(scores).all()
    assert np.isfinite(log_sum_exp(np.array([[1e6, -1e6]]), 1)).all()


def test_rows_without_both_embeddings_have_no_score_and_order_changes_nothing():
    kind = pa.list_(pa.float16(), 4)
    rng = np.random.default_rng(1)
    vectors = unit(rng.normal(size=(40, 4))).astype(np.float16)
    ids = [f"{number:032x}" for number in range(40)]

    def scores(order, seed=0):
        texts = [None if at == 7 else vectors[(at + 1) % 40] for at in order]
        columns = {
            "clip_score_image": pa.array([vectors[at] for at in order], kind),
            "clip_score_text": pa.array(texts, kind),
        }
        choice = NegClipLoss(batch=16, temperature=0.1).select(RowSet.of([ids[at] for at in order], **columns), seed)
        assert choice.keep.all()
        return choice.columns["neg_clip_loss"].to_pylist()

    first = scores(range(40))
    assert [value is None for value in first] == [at == 7 for at in range(40)]
    assert scores(rng.permutation(40)) == first
    assert scores(range(40), seed=1) != first


def test_no_rows_have_no_scores():
    nothing = pa.nulls(0)
    choice = NegClipLoss().select(RowSet.of([], clip_score_image=nothing, clip_score_text=nothing), 0)
    assert len(choice.columns["neg_clip_loss"]) == 0
    with pytest.raises(ValueError, match="greater than 0"):
        NegClipLoss(temperature=0)
