"""Scenes with captions that are wrong in one known way: what a CLIP filter must notice, for training and for
measuring it.

Kinds of wrong caption: `easy` (of another scene), `swap` (one concept exchanged, everything else right), `count` (one
more or one fewer of a concept), `colour` (another background). Swaps are the honest test: a model that sees only
background and layout tells easy mismatches apart and fails on swaps.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from PIL import Image

from potstill.models.tiny.scenes import COLOUR_NAMES, CONCEPTS, EMPTY, MAX_COUNT, Scene, SpriteBank, sample_scene

SIZES: Final = (96, 192)  # pixels; scenes are drawn at both, half and half
BLOCK: Final = 64  # scenes rendered at once


def swap(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with one of its concepts exchanged for a concept it does not have."""
    present = sorted({c for c in scene.cells if c != EMPTY})
    old = int(rng.choice(present))
    new = int(rng.choice([c for c in range(len(CONCEPTS)) if c not in present]))
    return Scene(tuple(new if c == old else c for c in scene.cells), scene.colour)


def recount(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with one more or one fewer of one of its concepts, staying in 1..MAX_COUNT."""
    concept = int(rng.choice(sorted({c for c in scene.cells if c != EMPTY})))
    has = [i for i, c in enumerate(scene.cells) if c == concept]
    free = [i for i, c in enumerate(scene.cells) if c == EMPTY]
    more = len(has) == 1 or (bool(free) and len(has) < MAX_COUNT and rng.random() < 0.5)
    cells = list(scene.cells)
    cells[free[0] if more else has[-1]] = concept if more else EMPTY
    return Scene(tuple(cells), scene.colour)


def recolour(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene on another background colour."""
    return Scene(scene.cells, (scene.colour + int(rng.integers(1, len(COLOUR_NAMES)))) % len(COLOUR_NAMES))


EDITS: Final[dict[str, Callable[[Scene, np.random.Generator], Scene]]] = {
    "swap": swap,
    "count": recount,
    "colour": recolour,
}


def draw(count: int, styles: tuple[str, ...], seed: int) -> tuple[list[Scene], Iterator[Image.Image]]:
    """`count` scenes, and their pictures drawn as they are asked for, blocks of scenes alternating between SIZES."""
    rng = np.random.default_rng(seed)
    scenes = [sample_scene(rng) for _ in range(count)]
    return scenes, _pictures(scenes, styles, seed, rng)


def _pictures(
    scenes: list[Scene], styles: tuple[str, ...], seed: int, rng: np.random.Generator
) -> Iterator[Image.Image]:
    banks = [SpriteBank(size, styles, seed=seed) for size in SIZES]
    for start in range(0, len(scenes), BLOCK):
        bank = banks[start // BLOCK % len(banks)]
        yield from (Image.fromarray(p) for p in bank.render(scenes[start : start + BLOCK], rng))


def captions(scenes: list[Scene], edits: tuple[str, ...], seed: int) -> list[list[str]]:
    """Per scene the true caption, then one wrong caption for every name in `edits`."""
    rng = np.random.default_rng(seed)
    return [[s.caption(), *(EDITS[edit](s, rng).caption() for edit in edits)] for s in scenes]
