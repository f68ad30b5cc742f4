"""Small pictures for tests, made on the spot."""

from io import BytesIO

import numpy as np
from PIL import Image


def photo(width=320, height=240, seed=0):
    """Soft colour blobs with some grain: compresses like a photograph."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(blobs) + grain, 0, 255).astype(np.uint8))


def encoded(image, name="JPEG", **options):
    """The bytes of a picture in a format."""
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def plain(color="red", size=(32, 24), name="PNG"):
    """A picture of one colour; colours give different bytes."""
    return encoded(Image.new("RGB", size, color), name)
