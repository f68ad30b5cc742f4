"""Pictures that look alike: one stays, on scenes whose copies are known; plain pictures and captions are no copies."""

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from potstill.models.tiny.scenes import COLOUR_NAMES, EMPTY, Scene, SpriteBank, sample_scene
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.scorers.phash import colours, phash, shrunk
from potstill.pipelines.selectors.near_duplicates import NearDuplicates

NAME = "near_duplicates"


def hash_of(image):
    return phash(shrunk(image)[None])[0].tobytes()


def id_(number):
    return f"{number:032x}"


def choose(hashes, ids=None, pictures=None, unit=None, looks=None, **columns):
    ids = ids or [id_(number) for number in range(len(hashes))]
    looks = pa.array(looks or [bytes(192)] * len(hashes), pa.binary(192))
    columns = {"phash": pa.array(hashes, pa.binary(32)), "image_id": pictures or ids, "phash_colours": looks, **columns}
    return (unit or NearDuplicates()).select(RowSet.of(ids, **columns), 0)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(buffer).convert("RGB")


def noisy(image):
    grain = np.random.default_rng(0).normal(0, 6, (*image.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


CHANGES = {
    "compressed": lambda image: saved(image, "JPEG", quality=30),
    "webp": lambda image: saved(image, "WEBP", quality=60),
    "halved": lambda image: image.resize((image.width // 2, image.height // 2)),
    "noisy": noisy,
}


def test_planted_copies_go_and_no_two_scenes_are_taken_for_one():
    rng = np.random.default_rng(3)
    pixels = SpriteBank(255, variants=1).render([sample_scene(rng) for _ in range(60)], rng)
    scenes = [Image.fromarray(picture) for picture in pixels]
    copies = [CHANGES[kind](scenes[n]) for n, kind in enumerate(list(CHANGES) * 5)]
    every = [*scenes, *copies]
    choice = choose([hash_of(image) for image in every], looks=[colours(image).tobytes() for image in every])
    assert choice.keep.tolist() == [True] * 60 + [False] * 20
    assert choice.columns[f"{NAME}_duplicate_of"].to_pylist() == [None] * 60 + [id_(n) for n in range(20)]
    assert max(choice.columns[f"{NAME}_distance"].drop_null().to_pylist()) <= 40
    assert max(choice.columns[f"{NAME}_difference"].drop_null().to_pylist()) <= 28
    assert choice.columns[f"{NAME}_group"].to_pylist() == [id_(n) for n in (*range(60), *range(20))]


def test_plain_pictures_and_rows_without_a_hash_are_kept():
    plain = [hash_of(Image.new("RGB", (90, 70), colour)) for colour in ("red", "blue", "white")]
    choice = choose([*plain, None])
    assert choice.keep.all()
    assert choice.columns[f"{NAME}_group"].null_count == 4
    assert choose([None, None]).keep.all()
    assert choose([]).keep.tolist() == []


def test_the_same_things_before_another_background_are_no_duplicates_unless_hashes_alone_count():
    scene = Scene((3, EMPTY, EMPTY, EMPTY, 40, EMPTY, EMPTY, EMPTY, 7), COLOUR_NAMES.index("red"))
    bank = SpriteBank(255, variants=1)
    pixels = [
        bank.render([one], np.random.default_rng(1))[0]
        for one in (scene, replace(scene, colour=COLOUR_NAMES.index("purple")))
    ]
    images = [Image.fromarray(picture) for picture in pixels]
    hashes, looks = [hash_of(image) for image in images], [colours(image).tobytes() for image in images]
    assert choose(hashes, looks=looks).keep.tolist() == [True, True]
    alone = NearDuplicates(max_difference=255)
    assert f"{alone.hash}_colours" not in alone.reads()
    assert choose(hashes, looks=looks, unit=alone).keep.tolist() == [True, False]
    assert choose(hashes, looks=looks, unit=alone).columns[f"{NAME}_difference"].null_count == 2


@pytest.mark.parametrize(("levels", "keep"), [(28, False), (29, True)])
def test_one_field_that_differs_by_more_than_allowed_tells_pictures_apart(levels, keep):
    other = bytearray(192)
    other[100] = levels
    choice = choose([pattern(1), pattern(1, 5)], looks=[bytes(192), bytes(other)])
    assert choice.keep.tolist() == [True, keep]
    assert choice.columns[f"{NAME}_difference"].to_pylist() == [None, None if keep else levels]


def pattern(seed, flips=0):
    """A hash of 256 bits, 128 of them set at random, with so many of its first bits changed."""
    bits = np.zeros(256, np.uint8)
    bits[np.random.default_rng(seed).permutation(256)[:128]] = 1
    bits[:flips] ^= 1
    return np.packbits(bits).tobytes()


def test_the_preferred_row_stays_else_the_lower_id():
    hashes = [pattern(1), pattern(1, 10), pattern(2)]
    assert choose(hashes).keep.tolist() == [True, False, True]
    unit = NearDuplicates(prefer="width * height")
    choice = choose(hashes, unit=unit, width=[5, 6, 1], height=[5, 5, 1])
    assert choice.keep.tolist() == [False, True, True]
    assert choice.columns[f"{NAME}_distance"].to_pylist() == [10, None, None]


def test_captions_of_one_picture_stay_together_and_go_together():
    hashes = [pattern(1), pattern(1), pattern(1, 7), pattern(1, 7)]
    choice = choose(hashes, pictures=["p", "p", "q", "q"])
    assert choice.keep.tolist() == [True, True, False, False]


def test_without_dropping_the_columns_are_written_all_the_same():
    choice = choose([pattern(1), pattern(1, 3)], unit=NearDuplicates(drop=False, name="look"))
    assert choice.keep.all()
    assert choice.columns["look_duplicate_of"].to_pylist() == [None, id_(0)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), min_size=1, max_size=25), st.randoms())
def test_the_order_of_rows_changes_nothing_and_each_dropped_row_is_near_to_one_that_stays(made, random):
    hashes = [pattern(seed, flips) for seed, flips in made]
    places = list(range(len(made)))
    random.shuffle(places)
    one = choose(hashes)
    two = choose([hashes[place] for place in places], ids=[id_(place) for place in places])
    assert one.keep.tolist() == two.keep.tolist()
    of = one.columns[f"{NAME}_duplicate_of"].to_pylist()
    for place, other in enumerate(of):
        assert one.keep[place] == (other is None)
        if other is not None:
            ends = [np.frombuffer(hashes[end], np.uint8) for end in (place, int(other, 16))]
            assert np.bitwise_count(ends[0] ^ ends[1]).sum() == one.columns[f"{NAME}_distance"][place].as_py() <= 40
            assert one.keep[int(other, 16)]


def test_distances_out_of_range_are_refused_before_and_at_the_hash_s_width():
    with pytest.raises(ValidationError, match="less than or equal to 128"):
        NearDuplicates(max_distance=129)
    rows = RowSet.of([id_(0)], phash=pa.array([bytes(8)], pa.binary(8)), image_id=["a"])
    with pytest.raises(ValueError, match="at most half of the 64 bits"):
        NearDuplicates(max_difference=255).select(rows, 0)
    assert NearDuplicates(min_ones=0, max_distance=9, max_difference=255).select(rows, 0).keep.all()
