import numpy as np
import pytest
from PIL import Image

from potstill.pipelines.scorers.pixel_measures import (
    blank,
    colourfulness,
    deviation,
    entropy,
    laplacian_variance,
    measures,
    noise,
)


def counts_of(rgb):
    return np.stack([np.bincount(rgb[..., channel].ravel(), minlength=256) for channel in range(3)])


def test_the_laplacian_of_a_single_bright_pixel_by_hand():
    grey = np.zeros((5, 5), np.uint8)
    grey[2, 2] = 10
    # inner 3 x 3: -40 in the middle, 10 at its four sides, 0 in the corners; mean 0
    assert laplacian_variance(grey) == pytest.approx((1600 + 4 * 100) / 9)
    ramp = np.tile(np.arange(0, 200, 10, dtype=np.uint8), (6, 1))
    assert laplacian_variance(ramp) == 0, "a slope is no edge"
    assert laplacian_variance(np.zeros((2, 9), np.uint8)) == 0, "no inner pixels"


def test_entropy_counts_bits():
    assert entropy(np.array([7, 0])) == 0
    assert entropy(np.array([4, 4])) == 1
    assert entropy(np.array([2, 1, 1])) == pytest.approx(1.5)
    assert entropy(np.ones(256)) == pytest.approx(8)


def test_the_deviation_of_a_histogram_is_that_of_its_levels():
    assert deviation(np.array([1, 0, 1])) == 1  # levels 0 and 2
    values = np.random.default_rng(0).integers(0, 256, 999)
    assert deviation(np.bincount(values, minlength=256)) == pytest.approx(values.std())


def test_blank_is_the_share_of_pixels_near_the_median_colour():
    rgb = np.full((4, 5, 3), 100, np.uint8)
    assert blank(rgb, counts_of(rgb)) == 1
    rgb[0, 0] = (100, 109, 100)  # nine levels off in one channel
    rgb[0, 1] = (92, 108, 100)  # eight levels off
    assert blank(rgb, counts_of(rgb)) == pytest.approx(19 / 20)


def test_noise_is_one_for_independent_pixels_two_for_a_chequerboard_and_small_for_a_slope():
    assert noise(np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)) == pytest.approx(1, abs=0.02)
    assert noise((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)) == pytest.approx(2)
    assert noise(np.array([[0, 2]], np.uint8)) == 2  # squared step 4, variance 1, halved
    assert noise(np.tile(np.arange(100, dtype=np.uint8), (100, 1))) < 0.01
    assert noise(np.full((9, 9), 7, np.uint8)) == 0


def test_colourfulness_by_hand():
    grey = np.repeat(np.arange(9, dtype=np.uint8).reshape(3, 3, 1), 3, axis=2)
    assert colourfulness(grey) == 0
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    assert colourfulness(red) == pytest.approx(0.3 * np.hypot(200, 100))
    red[0] = 0  # half black: both opponents spread by half of their value
    assert colourfulness(red) == pytest.approx(1.3 * np.hypot(100, 50))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (300, 2)])
def test_tiny_and_narrow_pictures_have_finite_numbers(size):
    found = measures(Image.new("RGB", size, (3, 200, 40)))
    assert all(np.isfinite(list(found.values())))
    assert (found["blank"], found["entropy"], found["contrast"], found["sharpness"], found["noise"]) == (1, 0, 0, 0, 0)
