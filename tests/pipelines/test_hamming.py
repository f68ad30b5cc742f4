"""Hashes that differ in few bits: the search finds just the pairs that comparing everything finds."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potstill.pipelines import hamming


def random_hashes(count, seed=0, words=4):
    return np.random.default_rng(seed).integers(0, 2**64, (count, words), dtype=np.uint64)


def flipped(hashes, flips, seed=0):
    """Each hash with so many of its bits changed, one number per hash."""
    rng = np.random.default_rng(seed)
    change = np.zeros((len(hashes), hashes.shape[1] * 64), np.uint8)
    for row, count in enumerate(flips):
        change[row, rng.choice(change.shape[1], count, replace=False)] = 1
    return hashes ^ np.packbits(change, axis=1).view(np.uint64)


def all_pairs(hashes, others, limit):
    """By comparing everything, bit by bit."""
    one, other = (np.unpackbits(part.view(np.uint8), axis=1).astype(int) for part in (hashes, others))
    apart = (one[:, None] != other[None]).sum(axis=2)
    return {(i, j, int(apart[i, j])) for i, j in zip(*np.nonzero(apart <= limit), strict=True)}


def found(hashes, others, limit, **more):
    return {
        tuple(int(value) for value in pair)
        for part in hamming.pairs(hashes, others, limit, **more)
        for pair in zip(*part, strict=True)
    }


@pytest.mark.parametrize("count", [None, 3, 4, 5, 7, 10])
@pytest.mark.parametrize("limit", [0, 2, 3, 17, 48])
def test_every_way_of_searching_finds_exactly_the_near_pairs(monkeypatch, count, limit):
    if count == 3 and limit == 48:
        monkeypatch.setattr(hamming, "_COUNTS", (4,))  # bands of 22 bits at this distance are for millions of hashes
    elif count:
        monkeypatch.setattr(hamming, "_COUNTS", (count,))
    if count:
        monkeypatch.setattr(hamming, "_PAIR", 1.0)  # comparing everything must look dear, or a few hashes use no bands
    hashes = random_hashes(40)
    others = np.concatenate([flipped(hashes, [n % 60 for n in range(40)]), random_hashes(20, seed=5)])
    wanted = all_pairs(hashes, others, limit)
    assert found(hashes, others, limit) == wanted
    assert len(wanted) >= 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3), st.integers(0, 60), st.integers(0, 2**32), st.lists(st.integers(0, 64), min_size=1, max_size=20)
)
def test_no_near_pair_is_missed_whatever_the_width_and_the_distance(words, limit, seed, flips):
    hashes = random_hashes(len(flips), seed, words)
    others = flipped(hashes, flips, seed + 1)
    every, hamming._PAIR = hamming._PAIR, 1.0
    try:
        if hamming._cost(len(hashes), len(others), words, limit, 4) < 2:
            assert found(hashes, others, limit) == all_pairs(hashes, others, limit)
    finally:
        hamming._PAIR = every


def test_hashes_marked_to_be_skipped_are_left_out_from_then_on():
    hashes = random_hashes(3)
    assert {one for one, _, _ in found(hashes, hashes, 5, skip=np.array([False, True, False]))} == {0, 2}


def test_without_hashes_there_are_no_pairs():
    none = np.zeros((0, 4), np.uint64)
    assert found(none, random_hashes(2), 9) == found(random_hashes(2), none, 9) == set()
    assert hamming.leaders(none, 9).tolist() == []


def greedy(hashes, limit):
    """The rule itself: go through the hashes in order, keep each that is near to none that was kept."""
    kept = []
    for place, hash_ in enumerate(hashes):
        if all(np.bitwise_count(hash_ ^ hashes[other]).sum() > limit for other in kept):
            kept.append(place)
    return kept


@pytest.mark.parametrize("seed", range(4))
def test_leaders_are_those_that_going_through_in_order_would_keep(monkeypatch, seed):
    monkeypatch.setattr(hamming, "_BLOCK", 16)
    rng = np.random.default_rng(seed)
    centres = random_hashes(30, seed)
    hashes = flipped(centres[rng.integers(0, 30, 300)], rng.integers(0, 40, 300), seed)
    leads = hamming.leaders(hashes, 48)
    assert np.flatnonzero(leads).tolist() == greedy(hashes, 48)
    assert 30 <= leads.sum() < 200


def test_many_hashes_of_one_picture_are_settled_with_few_comparisons(monkeypatch):
    compared = []
    every = hamming._every
    monkeypatch.setattr(hamming, "_every", lambda a, b, limit: compared.append(len(a) * len(b)) or every(a, b, limit))
    centre = np.repeat(random_hashes(1), 10_000, axis=0)
    hashes = flipped(centre, np.full(10_000, 20))
    assert hamming.leaders(hashes, 48).sum() == 1
    assert sum(compared) < 10_000 * 100


def test_a_search_in_which_all_share_some_bits_costs_no_more_than_comparing_everything(monkeypatch):
    """Half of each hash is the same for all, as for pictures that are plain in one half: whole bands tell nothing."""
    hashes = random_hashes(1200)
    hashes[:, :2] = 0
    compared, searched = [], []
    every, band = hamming._every, hamming._band
    monkeypatch.setattr(hamming, "_every", lambda a, b, limit: compared.append(len(a) * len(b)) or every(a, b, limit))

    def counting(*args):
        for one, other, count in band(*args):
            searched.append(count)
            yield one, other, count

    monkeypatch.setattr(hamming, "_band", counting)
    near = found(hashes, hashes, 20)
    assert near == {(row, row, 0) for row in range(1200)}
    assert sum(compared) + sum(searched) < 3 * 1200**2


def test_dealing_bits_keeps_distances_and_spreads_those_that_say_nothing():
    hashes = random_hashes(500)
    hashes[:, :2] = 0
    order = hamming.dealt(hashes)
    dealt = hamming.reordered(hashes, order)
    assert sorted(order.tolist()) == list(range(256))
    assert np.array_equal(
        np.bitwise_count(dealt ^ dealt[0]).sum(axis=1), np.bitwise_count(hashes ^ hashes[0]).sum(axis=1)
    )
    telling = np.unpackbits(dealt.view(np.uint8), axis=1).any(axis=0)
    assert [part.sum() for part in np.split(telling, 16)] == pytest.approx([8] * 16, abs=2)


def test_hashes_are_read_from_columns_with_nulls_slices_and_chunks_of_other_columns():
    column = pa.array([b"\1" + bytes(7), None, b"\2" + bytes(7), b"\3" + bytes(7)], pa.binary(8))
    hashes, there = hamming.codes(column)
    assert (hashes[:, 0].tolist(), there.tolist()) == ([1, 0, 2, 3], [True, False, True, True])
    assert hamming.codes(column.slice(1, 2))[0][:, 0].tolist() == [0, 2]
    assert hamming.codes(column.slice(2))[0][:, 0].tolist() == [2, 3]
    assert hamming.codes(column.slice(0, 0))[0].shape == (0, 1)
    assert not hamming.codes(pa.nulls(2))[1].any()


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(4), pa.binary()])
def test_a_column_of_another_type_is_refused_with_its_type(kind):
    with pytest.raises(ValueError, match="multiple of 8 bytes, not"):
        hamming.codes(pa.array([b"abcd"], kind))
