"""Semantic duplicates: who stays, who stands for whom, whatever the order, the blocks and the workers."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from potstill.pipelines.neighbours import pool as module
from potstill.pipelines.rowset import RowSet, in_order
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.selectors.semantic_duplicates import SemanticDuplicates
from tests.pipelines.neighbours.worlds import angle, column, cut, id_, mixture


def stage(**settings):
    return SemanticDuplicates.model_validate({"embedding": "v", **settings})


def chosen(rows, seed=0, **settings):
    return table(stage(**settings).select(rows, seed))


def table(choice):
    names = {name.removeprefix("semantic_duplicates_"): values for name, values in choice.columns.items()}
    return pa.table({"keep": pa.array(choice.keep), **names})


def plane(*degrees, **more):
    return cut(angle(*degrees), range(len(degrees)), [], **more)


def test_worked_by_hand():
    found = chosen(plane(0, 60, 5, 61, 120), min_cosine=np.cos(np.deg2rad(6)))
    assert found["keep"].to_pylist() == [True, True, False, False, True]
    assert found["duplicate_of"].to_pylist() == [None, None, id_(0), id_(1), None]
    expected = np.cos(np.deg2rad([60, 5, 1, 59]))
    np.testing.assert_allclose(found["cosine"].to_pylist()[1:], expected, atol=1e-3)
    assert found["cosine"][0].as_py() is None
    assert found["cluster"].to_pylist() == [0] * 5
    choice = stage().select(plane(0, 1), 0)
    assert choice.reasons[~choice.keep].tolist() == ["semantic_duplicate"]


def test_a_chain_keeps_what_is_too_far_from_the_row_that_stands_for_it():
    found = chosen(plane(0, 5, 10, 15, 20), min_cosine=np.cos(np.deg2rad(6)))
    assert found["duplicate_of"].to_pylist() == [None, id_(0), None, id_(2), None]


def test_the_preferred_row_stays_ties_go_to_the_lower_id_nulls_last():
    rows = plane(0, 1, 2, 90, 91, 92, score=[0.1, 0.9, 0.9, None, None, 0.0])
    assert chosen(rows, prefer="score")["duplicate_of"].to_pylist() == [id_(1), None, id_(1), id_(5), id_(5), None]
    assert stage(prefer="score").reads() == ("v", "score")
    assert chosen(rows, prefer="-score")["duplicate_of"].to_pylist()[:3] == [None, id_(0), id_(0)]


def test_duplicates_may_stay_with_the_columns_written():
    found = chosen(plane(0, 1, 90), drop=False)
    assert found["keep"].to_pylist() == [True, True, True]
    assert found["duplicate_of"].to_pylist() == [None, id_(0), None]


def test_rows_without_a_vector_are_kept_and_have_nothing_to_say():
    found = chosen(cut([[1, 0], [0, 0], [1, 0], [np.nan, 1], [1, 0]], range(5), [2], missing=[2]))
    assert found["keep"].to_pylist() == [True, True, True, True, False]
    assert found["duplicate_of"].to_pylist() == [None] * 4 + [id_(0)]
    assert found["cosine"].to_pylist() == [None, None, None, None, 1]
    assert found["cluster"].to_pylist() == [0, None, None, None, 0]


def test_the_same_vector_many_times_is_one_row_at_any_threshold():
    vectors = np.repeat(angle(0, 90, 12), [5000, 1, 5000], axis=0)
    found = chosen(cut(vectors, range(10_001), [3000]), min_cosine=1)
    assert found["keep"].to_numpy().nonzero()[0].tolist() == [0, 5000, 5001]
    close = chosen(cut(vectors, range(10_001), [3000]), min_cosine=0.97)
    assert close["keep"].to_numpy().nonzero()[0].tolist() == [0, 5000]
    assert set(close["duplicate_of"].to_pylist()) == {None, id_(0)}


def planted(rows=900, copies=300, width=24, seed=3):
    """``rows`` different rows and near copies of the first ``copies``, cosine 0.97 to 0.99."""
    rng = np.random.default_rng(seed)
    vectors, _ = mixture(rows, centres=20, width=width, spread=1, seed=seed)
    noise = rng.standard_normal((copies, width))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return np.concatenate([vectors, vectors[:copies] + rng.uniform(0.15, 0.22, (copies, 1)) * noise])


def test_planted_copies_are_found_across_the_borders_of_many_clusters():
    vectors = planted()
    found = chosen(cut(vectors, range(1200), [500]), min_cosine=0.95, cluster_rows=20)
    exact = chosen(cut(vectors, range(1200), [500]), min_cosine=0.95, cluster_rows=2000)
    assert exact["duplicate_of"].to_pylist()[900:] == [id_(number) for number in range(300)]
    assert all(exact["keep"].to_pylist()[:900])
    assert len(set(found["cluster"].to_pylist())) > 40
    missed = sum(found["keep"].to_pylist()[900:])
    assert all(found["keep"].to_pylist()[:900])
    assert missed < 0.03 * 300


def test_no_kept_rows_are_duplicates_and_choosing_again_drops_nothing():
    vectors = mixture(600, centres=40, spread=0.25, seed=8)[0]
    keep = chosen(cut(vectors, range(600), [100]))["keep"].to_numpy()
    unit = vectors[keep].astype(np.float16).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert 40 <= keep.sum() < 600
    assert np.triu(unit @ unit.T, 1).max() < 0.95
    assert chosen(cut(vectors[keep], range(keep.sum()), [100]))["keep"].to_numpy().all()


def test_a_dropped_row_is_within_the_threshold_of_the_kept_row_that_stands_for_it():
    vectors = mixture(600, centres=40, spread=0.35, seed=8)[0]
    found = chosen(cut(vectors, range(600), []))
    unit = vectors.astype(np.float16).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    dropped = [(row, int(name, 16)) for row, name in enumerate(found["duplicate_of"].to_pylist()) if name]
    assert len(dropped) > 50
    assert min(unit[row] @ unit[keeper] for row, keeper in dropped) >= 0.95 - 1e-6
    assert all(found["keep"][keeper].as_py() for _, keeper in dropped)


@pytest.mark.parametrize("flat", [1000, 5])
def test_order_and_blocks_change_nothing(flat, monkeypatch):
    monkeypatch.setattr(module, "FLAT", flat)
    monkeypatch.setattr(module, "PARTITION_BYTES", 20_000)
    vectors, order = planted(), np.random.default_rng(2).permutation(1200)
    whole = chosen(cut(vectors, np.arange(1200), []), cluster_rows=30)
    assert whole.equals(chosen(cut(vectors, order, [1, 0, 333, 400]), cluster_rows=30))
    assert whole.equals(chosen(cut(vectors, order[::-1], [90] * 13), cluster_rows=30))


@pytest.mark.ray
def test_workers_change_nothing(ray_session, tmp_path, monkeypatch):
    from potstill.pipelines import stream

    monkeypatch.setattr(module, "PARTITION_BYTES", 20_000)
    vectors, order = planted(), np.random.default_rng(2).permutation(1200)
    over = partial(in_order, stream.over_chunks)
    there = chosen(cut(vectors, order, [300] * 3, over=over, scratch=RunDir(tmp_path)), cluster_rows=30)
    assert there.equals(chosen(cut(vectors, np.arange(1200), []), cluster_rows=30))


def test_no_rows_one_row_and_no_vectors():
    assert chosen(RowSet.of([], v=column(np.zeros((0, 3))))).num_rows == 0
    assert chosen(plane(10)).to_pylist() == [{"keep": True, "duplicate_of": None, "cosine": None, "cluster": 0}]
    assert chosen(cut(np.ones((2, 3)), [0, 1], [], missing=[0, 1]))["keep"].to_pylist() == [True, True]


def test_thresholds_out_of_range_are_refused():
    for bad in ({"min_cosine": 0}, {"min_cosine": 1.01}, {"cluster_rows": 1}):
        with pytest.raises(ValidationError):
            stage(**bad)


def accuracy(vectors, labels, test, truth):
    """Of the nearest neighbour's label."""
    return float((labels[(test @ vectors.T).argmax(axis=1)] == truth).mean())


def test_of_a_pool_full_of_copies_a_budget_goes_further_after_deduplication():
    """Sources are copied up to 60 times; what is left has each once, so a random subset of it sees more of them."""
    plain, deduplicated = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        sources, labels = mixture(520, centres=40, width=24, spread=0.5, seed=seed)
        test, truth = sources[400:], labels[400:]
        which = np.repeat(np.arange(400), np.minimum(rng.zipf(1.3, 400), 60))
        pool = sources[which] + 0.06 * rng.standard_normal((len(which), 24)) / np.sqrt(24)
        rows = cut(pool, rng.permutation(len(pool)), [500])
        left = np.flatnonzero(stage(min_cosine=0.98).select(rows, seed).keep)
        assert len(set(which[left].tolist())) >= 0.99 * 400
        assert len(left) < 1.02 * 400
        for draw in range(10):
            for among, found in ((np.arange(len(pool)), plain), (left, deduplicated)):
                picks = np.random.default_rng(draw).permutation(among)[:100]
                found.append(accuracy(pool[picks], labels[which[picks]], test, truth))
    assert np.mean(deduplicated) > np.mean(plain) + 0.04
