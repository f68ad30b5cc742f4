"""Numbers about the pixels of one picture, pure NumPy.

Sources: colourfulness by Hasler and Süsstrunk 2003, "Measuring colourfulness in natural images", SPIE 5007; noise is
half of von Neumann's 1941 ratio of the mean square successive difference to the variance, over both axes.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

BLANK_LEVELS = 8
"""A pixel belongs to the background when no channel (0 to 255) is farther than this from the channel's median."""


def measures(image: Image.Image) -> dict[str, float]:
    """The numbers that need pixels, of an RGB picture, by noun."""
    rgb, grey = np.asarray(image), np.asarray(image.convert("L"))
    counts = np.array(image.histogram(), np.float64).reshape(3, 256)
    return {
        "sharpness": laplacian_variance(grey),
        "entropy": entropy(np.bincount(grey.ravel(), minlength=256)),
        "contrast": float(np.mean([deviation(channel) for channel in counts])),
        "blank": blank(rgb, counts),
        "noise": noise(grey),
        "colourfulness": colourfulness(rgb),
    }


def laplacian_variance(grey: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian over the inner pixels of (H, W) uint8; 0 where there are none."""
    grey = grey.astype(np.float32)
    inner = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    return float(inner.var(dtype=np.float64)) if inner.size else 0.0


def entropy(counts: np.ndarray) -> float:
    """Shannon entropy of a histogram with at least one count, in bits: 0 (one level) to 8 (256 equal ones)."""
    share = counts[counts > 0] / counts.sum()
    return float(abs(share @ np.log2(share)))


def deviation(counts: np.ndarray) -> float:
    """Standard deviation of the levels 0..n-1 counted in a histogram."""
    levels, total = np.arange(len(counts)), counts.sum()
    mean = levels @ counts / total
    return float(np.sqrt((levels - mean) ** 2 @ counts / total))


def blank(rgb: np.ndarray, counts: np.ndarray) -> float:
    """Share of the pixels of (H, W, 3) uint8 that belong to the background; ``counts`` is its histogram, (3, 256)."""
    median = [int(np.searchsorted(np.cumsum(channel), channel.sum() / 2)) for channel in counts]
    near = np.ones(rgb.shape[:2], bool)
    for channel, middle in enumerate(median):
        near &= abs(rgb[..., channel].astype(np.int16) - middle) <= BLANK_LEVELS
    return float(near.mean())


def noise(grey: np.ndarray) -> float:
    """One minus the correlation of neighbouring pixels of (H, W) uint8: near 0 smooth, 1 white noise, 2 a chequerboard.

    0 for a picture without any change.
    """
    grey = grey.astype(np.float32)
    steps = [np.diff(grey, axis=axis) for axis in (0, 1) if grey.shape[axis] > 1]
    variance = float(grey.var(dtype=np.float64))
    return (
        float(np.mean([np.square(step).mean(dtype=np.float64) for step in steps])) / 2 / variance if variance else 0.0
    )


def colourfulness(rgb: np.ndarray) -> float:
    """Spread plus 0.3 of the mean of the two opponent colours of (H, W, 3) uint8.

    The paper's scale: 0 not, 15 slightly, 33 moderately, 45 averagely, 59 quite, 82 highly, 109 extremely colourful.
    """
    red, green, blue = (rgb[..., channel].astype(np.float32) for channel in range(3))
    opponents = (red - green, (red + green) / 2 - blue)
    spread = np.hypot(*(part.std(dtype=np.float64) for part in opponents))
    return float(spread + 0.3 * np.hypot(*(part.mean(dtype=np.float64) for part in opponents)))
