"""The filter network: better than the score it starts from where the encoders look at the wrong thing."""

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.models.filter_network import fit, score
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.filter_network import FilterNetwork


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def world(seed, count, mismatched=0.0):
    """Pairs whose first 8 numbers tell what is meant, under 24 louder ones that picture and text share by chance."""
    rng = np.random.default_rng(seed)
    meaning = rng.normal(size=(count, 8))
    other = np.where(rng.random(count) < mismatched, rng.permutation(count), np.arange(count))
    images = np.hstack([meaning, 1.5 * rng.normal(size=(count, 24))])
    texts = np.hstack([meaning[other], 1.5 * rng.normal(size=(count, 24))])
    return unit(images), unit(texts), other == np.arange(count)


def auc(values, good):
    order = np.argsort(np.argsort(values))
    return (order[good].sum() - good.sum() * (good.sum() - 1) / 2) / (good.sum() * (~good).sum())


SETTINGS = {"steps": 200, "batch": 128, "lr": 3e-3, "weight_decay": 0.1}


def test_trained_on_trusted_pairs_it_tells_mismatched_pairs_apart_better_than_the_cosine():
    images, texts, good = world(1, 600, mismatched=0.5)
    trusted = world(2, 1000)[:2]
    before = auc((images * texts).sum(1), good)
    after = auc(score(images, texts, fit(*trusted, **SETTINGS, seed=0)), good)
    assert after > before + 0.05


def test_without_a_step_it_is_the_cosine_and_the_same_seed_gives_the_same_numbers():
    images, texts, _ = world(1, 64)
    plain = fit(images, texts, **SETTINGS | {"steps": 0}, seed=0)
    np.testing.assert_allclose(score(images, texts, plain), (images * texts).sum(1), atol=1e-6)
    short = SETTINGS | {"steps": 5}
    first, second = fit(images, texts, **short, seed=3), fit(images, texts, **short, seed=3)
    assert (first[0] == second[0]).all()
    assert (fit(images, texts, **short, seed=4)[0] != first[0]).any()


def test_a_zero_row_scores_zero():
    zero = np.zeros((1, 4), np.float32)
    assert score(zero, np.ones((1, 4), np.float32), (np.eye(4), np.eye(4))).tolist() == [0]


def rows(order):
    images, texts, _ = world(5, 40)
    kind = pa.list_(pa.float16(), 32)
    ids = [f"{number:032x}" for number in range(40)]
    columns = {
        "clip_score_image": pa.array([images[at].astype(np.float16) for at in order], kind),
        "clip_score_text": pa.array([None if at == 3 else texts[at].astype(np.float16) for at in order], kind),
        "good": [at % 2 for at in order],
    }
    return RowSet.of([ids[at] for at in order], **columns)


def test_the_stage_scores_every_row_with_both_embeddings_whatever_the_order():
    stage = FilterNetwork(trusted="good == 1", steps=5, batch=16)
    choice = stage.select(rows(range(40)), 0)
    values = choice.columns["filter_network"].to_pylist()
    assert choice.keep.all()
    assert [value is None for value in values] == [at == 3 for at in range(40)]
    shuffled = np.random.default_rng(0).permutation(40)
    assert stage.select(rows(shuffled), 0).columns["filter_network"].to_pylist() == values


def test_too_few_trusted_rows_and_no_condition_are_refused():
    with pytest.raises(ValueError, match="'good == 7' holds for 0 rows"):
        FilterNetwork(trusted="good == 7").select(rows(range(40)), 0)
    with pytest.raises(ValidationError, match="is not a condition"):
        FilterNetwork(trusted="good ==")
