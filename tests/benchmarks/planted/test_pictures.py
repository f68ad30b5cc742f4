import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.planted import pictures
from potstill.models.tiny.scenes import EMPTY, TRAIN_STYLES, Scene
from potstill.pipelines.intake import Intake, examine

SCENE = Scene((0, EMPTY, 3, EMPTY, EMPTY, EMPTY, EMPTY, 40, EMPTY), 2)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def data(rng):
    return pictures.encoded(pictures.render(SCENE, "noto", rng))


def pixels(data):
    return np.asarray(pictures.opened(data), np.float32)


def test_a_scene_is_a_sound_jpeg_of_the_benchmarks_size(data):
    assert examine(data, Intake()) == (pictures.SIDE, pictures.SIDE, "JPEG")


@pytest.mark.parametrize("variant", ["truncated", "zeroed", "html", "empty"])
def test_a_broken_file_is_refused_by_the_intake(data, variant, rng):
    for _ in range(20):
        with pytest.raises(ValueError, match=r"fetch|leave it out"):
            examine(pictures.broken(data, variant, rng), Intake())


def test_a_truncated_and_a_zeroed_file_start_as_the_sound_one_does(data, rng):
    assert data.startswith(pictures.broken(data, "truncated", rng))
    zeroed = pictures.broken(data, "zeroed", rng)
    assert len(zeroed) == len(data)
    assert bytes(len(data) // 4) in zeroed


@pytest.mark.parametrize(("variant", "suffix", "kind"), [("jpeg30", "jpg", "JPEG"), ("png", "png", "PNG"),
                                                         ("webp", "webp", "WEBP")])  # fmt: skip
def test_a_recompressed_picture_has_other_bytes_and_nearly_the_same_pixels(data, variant, suffix, kind):
    again, name = pictures.recompressed(data, variant)
    assert (name, examine(again, Intake())[2]) == (suffix, kind)
    assert again != data
    assert np.abs(pixels(again) - pixels(data)).mean() < 5
    assert variant != "png" or (pixels(again) == pixels(data)).all()


def test_a_resized_picture_has_half_the_sides(data):
    assert pictures.opened(pictures.resized(data)).size == (pictures.SIDE // 2, pictures.SIDE // 2)


def test_a_crop_takes_four_percent_of_each_side(data, rng):
    side = pictures.SIDE - round(0.04 * pictures.SIDE)
    assert pictures.opened(pictures.altered(data, "crop", rng)).size == (side, side)


@pytest.mark.parametrize("variant", ["noise", "watermark"])
def test_an_altered_picture_differs_and_is_still_recognisable(data, variant, rng):
    difference = np.abs(pixels(pictures.altered(data, variant, rng)) - pixels(data))
    assert 0.3 < difference.mean() < 25


@pytest.mark.parametrize(("variant", "short", "aspect"), [("tiny", range(20, 32), 1), ("narrow", [40], 12)])
def test_a_misshapen_picture_is_small_or_narrow(data, variant, short, aspect, rng):
    for _ in range(10):
        width, height = pictures.misshapen(pictures.opened(data), variant, rng).size
        assert min(width, height) in short
        assert max(width, height) == aspect * min(width, height)


def test_blank_pictures_have_no_contrast_and_noise_has_nothing_else(rng):
    deviation = {
        name: np.asarray(pictures.blank(name, rng), float).std(axis=(0, 1)) for name in ("flat", "near_flat", "noise")
    }
    assert (deviation["flat"] == 0).all()
    assert ((deviation["near_flat"] > 0) & (deviation["near_flat"] < 2)).all()
    assert (deviation["noise"] > 60).all()


def test_a_page_shows_nothing_of_the_scene_and_a_tiled_watermark_covers_it(data, rng):
    scene = pictures.opened(data)
    page = np.asarray(pictures.text_picture(scene, "page", rng), float)
    assert (page == page[..., :1]).all(), "black on white"
    assert 0.02 < (page < 128).mean() < 0.3
    covered = (
        np.abs(np.asarray(pictures.text_picture(scene, "tiled", rng), float) - np.asarray(scene, float)).max(-1) > 20
    )
    assert 0.03 < covered.mean() < 0.5
    assert all(covered[y : y + 60].any() for y in range(0, pictures.SIDE, 60))


def test_a_command_is_written_over_the_lower_part_only(data):
    scene = np.asarray(pictures.opened(data), float)
    changed = np.abs(np.asarray(pictures.commanding(pictures.opened(data)), float) - scene).max(-1) > 40
    assert changed[-62:].any()
    assert not changed[:-62].any()


def test_another_style_is_a_training_style_other_than_the_given_one(rng):
    assert {pictures.other_style("noto", rng) for _ in range(60)} == set(TRAIN_STYLES) - {"noto"}


def test_the_same_draws_give_the_same_bytes(data):
    for variant in ("crop", "noise", "watermark"):
        once, again = (pictures.altered(data, variant, np.random.default_rng(9)) for _ in range(2))
        assert once == again


@pytest.mark.parametrize("make", [
    lambda data, rng: pictures.recompressed(data, "gif"),
    lambda data, rng: pictures.altered(data, "gif", rng),
    lambda data, rng: pictures.broken(data, "gif", rng),
    lambda data, rng: pictures.misshapen(pictures.opened(data), "gif", rng),
    lambda data, rng: pictures.blank("gif", rng),
    lambda data, rng: pictures.text_picture(pictures.opened(data), "gif", rng),
])  # fmt: skip
def test_an_unknown_variant_is_named(data, make, rng):
    with pytest.raises(ValueError, match="'gif'"):
        make(data, rng)


def test_encoding_keeps_the_quality_it_was_given(data):
    image = pictures.opened(data)
    assert len(pictures.encoded(image, "JPEG", 30)) < len(pictures.encoded(image, "JPEG", 90))
    assert Image.open(io.BytesIO(pictures.encoded(image, "WEBP"))).format == "WEBP"
