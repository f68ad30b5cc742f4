import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from potstill.models.tiny.scenes import SpriteBank, sample_scene
from potstill.pipelines.scorers.phash import PerceptualHash, distances, phash
from tests.pipelines.pictures import encoded, photo, plain
from tests.pipelines.scorers.tables import by_row, pictures

LIMIT = 48


def hashes(*data):
    return [np.frombuffer(value, np.uint8) for value in by_row(PerceptualHash(), pictures(*data))["phash"]]


def distance(one, other):
    return int(distances(one, other[None])[0])


def test_a_wave_sets_the_one_bit_of_its_frequency_and_the_first_bit_is_the_mean():
    wave = np.cos(np.pi * 3 * (2 * np.arange(64) + 1) / 128)
    grey = np.rint(128 + 100 * np.tile(wave, (64, 1))).astype(np.uint8)
    bits = np.unpackbits(phash(grey[None])[0]).reshape(16, 16)
    assert bits[0, 0] == bits[0, 3] == 1
    assert bits[1:].sum() == 0, "nothing changes from top to bottom"
    assert np.array_equal(np.unpackbits(phash(grey.T[None])[0]).reshape(16, 16), bits.T)


def test_a_flat_picture_has_no_bit_but_the_mean_so_flat_pictures_are_alike():
    flat = np.stack([np.full((64, 64), level, np.uint8) for level in (0, 1, 77, 255)])
    bits = np.unpackbits(phash(flat), axis=1)
    assert bits.sum(axis=1).tolist() == [0, 1, 1, 1]


def test_a_hash_does_not_depend_on_what_else_is_in_the_batch():
    grey = np.random.default_rng(0).integers(0, 256, (50, 64, 64), np.uint8)
    alone = np.concatenate([phash(picture[None]) for picture in grey])
    assert np.array_equal(phash(grey), alone)


def test_copies_are_near_and_other_scenes_are_far():
    rng = np.random.default_rng(3)
    pixels = SpriteBank(255, variants=1).render([sample_scene(rng) for _ in range(30)], rng)
    scenes = [encoded(Image.fromarray(picture), quality=90) for picture in pixels]
    first = Image.fromarray(pixels[0])
    marked = first.copy()
    ImageDraw.Draw(marked).text((200, 240), "(c)", fill="white")
    copies = [
        encoded(first, quality=30),
        encoded(first, "PNG"),
        encoded(first, "WEBP", quality=60),
        encoded(first.resize((128, 128)), quality=90),
        encoded(marked, quality=90),
    ]
    found = hashes(*scenes, *copies)
    assert max(distance(found[0], copy) for copy in found[30:]) <= LIMIT
    assert min(distance(a, b) for i, a in enumerate(found[:30]) for b in found[:i]) > LIMIT
    turned = encoded(first.rotate(180), quality=90)
    assert distance(found[0], hashes(turned)[0]) > LIMIT


def test_a_picture_turned_by_its_exif_has_the_hash_of_the_upright_one():
    upright = photo(300, 200)
    tags = Image.Exif()
    tags[0x0112] = 6
    lying = encoded(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=tags.tobytes())
    one, other = hashes(encoded(upright, "PNG"), lying)
    assert distance(one, other) == 0


def test_odd_pictures_have_a_hash_and_a_broken_one_costs_its_own_row_only():
    odd = [
        encoded(image, "PNG")
        for image in (Image.new("RGB", (1, 1)), Image.new("LA", (5, 900)), Image.new("I;16", (9, 9)))
    ]
    result = PerceptualHash().build()(pictures(*odd, b"no picture", plain()))
    assert result["phash"].type == pa.binary(32)
    assert result["phash"].is_valid().to_pylist() == [True, True, True, False, True]
    assert [error is None for error in result["error"]] == [True, True, True, False, True]
    assert result["phash_colours"].is_valid().to_pylist() == [True, True, True, False, True]
    assert by_row(PerceptualHash(), pictures(plain()).slice(0, 0)) == {"phash": [], "phash_colours": []}


def test_colours_are_the_means_of_fields_row_by_row():
    pixels = np.zeros((80, 160, 3), np.uint8)
    pixels[:10, 140:] = (10, 20, 200)
    pixels[70:, :10] = 100
    found = by_row(PerceptualHash(), pictures(encoded(Image.fromarray(pixels), "PNG")))["phash_colours"][0]
    fields = np.frombuffer(found, np.uint8).reshape(8, 8, 3)
    assert fields[0, 7].tolist() == [10, 20, 200]
    assert fields[7, 0].tolist() == [50, 50, 50]
    assert np.count_nonzero(fields.any(axis=-1)) == 2


@pytest.mark.parametrize(("a", "b", "bits"), [(0, 0, 0), (0, 255, 256), (0b1000, 0b0001, 64)])
def test_the_distance_counts_bits(a, b, bits):
    assert distance(np.full(32, a, np.uint8), np.full(32, b, np.uint8)) == bits
