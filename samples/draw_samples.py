"""Draws the demo pictures of this folder: 48 emoji scenes as JPEG, PNG and WebP of several sizes, the same at every
run.

    python samples/draw_samples.py

One picture in six is in the style that the tiny chat model was not trained on. The scenes are not in its training data.
"""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from potstill.models.tiny.scenes import HELD_OUT_STYLE, TRAIN_STYLES, SpriteBank, sample_scene

FOLDER: Final = Path(__file__).parent
SEED: Final = 48_000_001
COUNT: Final = 48
SIZES: Final = (192, 240, 288, 336)  # pixels
FORMATS: Final = {"jpg": {"quality": 88}, "png": {"optimize": True}, "webp": {"quality": 85}}


def main() -> None:
    """Write scene-00.jpg, scene-01.png, scene-02.webp and so on."""
    rng = np.random.default_rng(SEED)
    banks = {}
    for number in range(COUNT):
        style = HELD_OUT_STYLE if number % 6 == 5 else TRAIN_STYLES[int(rng.integers(len(TRAIN_STYLES)))]
        size = int(rng.choice(SIZES))
        if (style, size) not in banks:
            banks[style, size] = SpriteBank(size, (style,), variants=1, seed=SEED)
        pixels = banks[style, size].render([sample_scene(rng)], rng, noise=0.0)[0]
        suffix = list(FORMATS)[number % len(FORMATS)]
        Image.fromarray(pixels).save(FOLDER / f"scene-{number:02d}.{suffix}", **FORMATS[suffix])


if __name__ == "__main__":
    main()
