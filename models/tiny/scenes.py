"""Emoji scenes whose every fact is known: 105 concepts of 8 groups on a 3x3 grid over one of 8 background colours.

A scene is symbols first (`Scene`: which concept sits in which cell, and the colour) and pixels second
(`SpriteBank.render`), so that captions, counts, places and every question about the picture can be answered from the
symbols. Cells are numbered in reading order. Sprites come from the sheets in `sprites/` (one per drawing style,
credited in `sprites/LICENSES.md`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

SPRITES: Final = Path(__file__).parent / "sprites"
TRAIN_STYLES: Final = ("noto", "noto-v1", "twemoji", "fluent-flat")
HELD_OUT_STYLE: Final = "fluent"
SPRITE: Final = 96  # pixels, the side of one sprite on a sheet
SHEET_COLUMNS: Final = 15
EMPTY: Final = -1
MAX_COUNT: Final = 4

GROUPS: Final[dict[str, str]] = {
    "animal": "dog cat rabbit pig cow horse tiger elephant monkey panda koala bear fox lion frog chicken penguin owl "
    "duck eagle turtle snake dolphin shark whale octopus crab bee butterfly snail",
    "food": "apple pear banana lemon peach watermelon strawberry pineapple eggplant avocado tomato carrot mushroom "
    "cucumber croissant hamburger pizza taco potato egg cake doughnut cookie",
    "tool": "hammer wrench camera key lock ruler flashlight candle bulb pencil telescope microscope umbrella "
    "paintbrush",
    "vehicle": "car taxi bus ambulance truck tractor bicycle motorcycle train airplane helicopter rocket sailboat",
    "clothing": "shirt dress hat shoe boot tie kimono crown",
    "plant": "tree cactus rose tulip sunflower palm",
    "ball": "football basketball baseball volleyball soccer_ball tennis_ball",
    "instrument": "guitar violin trumpet drum saxophone",
}
CONCEPTS: Final = tuple(word.replace("_", " ") for words in GROUPS.values() for word in words.split())
GROUP_OF: Final = tuple(group for group, words in GROUPS.items() for _ in words.split())
PLURALS: Final = {
    "fox": "foxes", "octopus": "octopuses", "butterfly": "butterflies", "peach": "peaches",
    "strawberry": "strawberries", "tomato": "tomatoes", "potato": "potatoes", "wrench": "wrenches", "bus": "buses",
    "dress": "dresses", "cactus": "cactuses", "paintbrush": "paintbrushes",
}  # fmt: skip
COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "white": (244, 244, 242), "grey": (140, 140, 142), "red": (204, 48, 44), "yellow": (246, 214, 66),
    "green": (72, 160, 78), "blue": (62, 112, 208), "purple": (128, 62, 158), "pink": (244, 160, 194),
}  # fmt: skip
COLOUR_NAMES: Final = tuple(COLOURS)
PLACES: Final = (
    "top left", "top middle", "top right", "middle left", "centre", "middle right", "bottom left", "bottom middle",
    "bottom right",
)  # fmt: skip
NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def plural(word: str) -> str:
    """Return the plural of a concept word: "dog" -> "dogs"."""
    return PLURALS.get(word, word + "s")


def article(word: str) -> str:
    """Return the word with its indefinite article: "egg" -> "an egg"."""
    return f"an {word}" if word[0] in "aeiou" and not word.startswith("uni") else f"a {word}"


def join(parts: Sequence[str]) -> str:
    """Return the parts as an English list: "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


@dataclass(frozen=True)
class Scene:
    """A picture in symbols: nine cells in reading order (concept index or EMPTY) and a background colour index."""

    cells: tuple[int, ...]
    colour: int

    @property
    def objects(self) -> tuple[str, ...]:
        """Concept words in reading order of their first cell, each once."""
        return tuple(dict.fromkeys(CONCEPTS[c] for c in self.cells if c != EMPTY))

    @property
    def counts(self) -> dict[str, int]:
        """Concept word -> how many, in reading order."""
        return {word: sum(c != EMPTY and CONCEPTS[c] == word for c in self.cells) for word in self.objects}

    @property
    def background(self) -> str:
        """Colour word of the background."""
        return COLOUR_NAMES[self.colour]

    def places(self, word: str) -> tuple[str, ...]:
        """Place names of the cells that hold the word, in reading order; empty when it is absent."""
        return tuple(PLACES[i] for i, c in enumerate(self.cells) if c != EMPTY and CONCEPTS[c] == word)

    def listing(self) -> str:
        """Objects with counts: "two dogs and a cat"."""
        return join([amount(word, n) for word, n in self.counts.items()])

    def caption(self) -> str:
        """One true sentence: "Two dogs and a cat on a blue background."."""
        text = f"{self.listing()} on a {self.background} background."
        return text[0].upper() + text[1:]


def amount(word: str, n: int) -> str:
    """Return "a dog", "two dogs" or "no dogs" for n in 0..9."""
    return article(word) if n == 1 else f"{NUMBERS[n]} {plural(word)}"


def sample_scene(rng: np.random.Generator) -> Scene:
    """Return a scene of one to three concepts (30, 50, 20 %), one to four of each, in free cells drawn at random."""
    kinds = int(rng.choice(3, p=(0.3, 0.5, 0.2))) + 1
    words = rng.choice(len(CONCEPTS), size=kinds, replace=False)
    counts = rng.integers(1, (MAX_COUNT if kinds < 3 else 3) + 1, size=kinds)
    free = rng.permutation(9)
    cells = [EMPTY] * 9
    used = 0
    for word, count in zip(words, counts, strict=True):
        for cell in free[used : used + count]:
            cells[cell] = int(word)
        used += int(count)
    return Scene(tuple(cells), int(rng.integers(len(COLOUR_NAMES))))


class SpriteBank:
    """Draws many scenes at once: sprites are resized and placed in their cells beforehand, drawing is lookup and blend.

    `size` is the side of the picture in pixels (a multiple of 3); each sprite is kept in `variants` random scales
    (84-97 % of the cell), offsets and mirrorings. Memory: styles x 105 x variants x (size / 3)^2 x 4 bytes.
    """

    def __init__(self, size: int = 96, styles: Sequence[str] = TRAIN_STYLES, variants: int = 6, seed: int = 0) -> None:
        if size % 3:
            raise ValueError(f"size is {size} pixels; it must be a multiple of 3, the side of the grid")
        self.size, self.styles, self.variants = size, tuple(styles), variants
        rng = np.random.default_rng(seed)
        # (style, word, variant, cell, cell, RGBA), and film grain that is cut out at random offsets
        self.bank = np.stack([_placed_sprites(style, size // 3, variants, rng) for style in styles])
        self.grain = rng.standard_normal(2 * size * size * 3 + 65536, dtype=np.float32)

    def render(self, scenes: Sequence[Scene], rng: np.random.Generator, *, noise: float = 3.0) -> np.ndarray:
        """Return uint8 (scenes, size, size, 3) sRGB; one style per scene, colour jitter, grain of `noise` levels."""
        n = len(scenes)
        words = np.array([s.cells for s in scenes], dtype=np.int64).reshape(n, 9)
        styles = np.broadcast_to(rng.integers(len(self.styles), size=(n, 1)), (n, 9))
        return self.render_cells(words, np.array([s.colour for s in scenes], dtype=np.int64), styles, rng, noise=noise)

    def render_cells(
        self,
        words: np.ndarray,
        colours: np.ndarray,
        styles: np.ndarray,
        rng: np.random.Generator,
        *,
        noise: float = 3.0,
    ) -> np.ndarray:
        """Return uint8 (n, size, size, 3) from words (n, 9) with EMPTY allowed, colours (n,) and styles (n, 9)."""
        n, side = len(words), self.size // 3
        paint = np.array(list(COLOURS.values()), dtype=np.float32)[colours] + rng.uniform(-14, 14, (n, 3)).astype(
            np.float32
        )
        cells = np.broadcast_to(paint[:, None, None, None, :], (n, 9, side, side, 3)).copy()
        row, cell = np.nonzero(words != EMPTY)
        sprites = self.bank[styles[row, cell], words[row, cell], rng.integers(self.variants, size=len(row))].astype(
            np.float32
        )
        alpha = sprites[..., 3:] / 255
        cells[row, cell] = sprites[..., :3] * alpha + cells[row, cell] * (1 - alpha)
        image = (
            cells.reshape(n, 3, 3, side, side, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, self.size, self.size, 3)
        )  # a copy
        for picture, start in zip(image, rng.integers(len(self.grain) - image[0].size, size=n), strict=True):
            picture += noise * self.grain[start : start + picture.size].reshape(picture.shape)
        return np.clip(image + 0.5, 0, 255, out=image).astype(np.uint8)


def load_sheet(style: str) -> np.ndarray:
    """Return the sprites of one style, uint8 RGBA (105, 96, 96, 4), in the order of CONCEPTS."""
    with Image.open(SPRITES / f"{style}.png") as image:
        sheet = np.asarray(image.convert("RGBA"))
    rows = sheet.shape[0] // SPRITE
    tiles = sheet.reshape(rows, SPRITE, SHEET_COLUMNS, SPRITE, 4).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(-1, SPRITE, SPRITE, 4)[: len(CONCEPTS)]


def _placed_sprites(style: str, side: int, variants: int, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 (105, variants, side, side, 4): sprites at random scales and offsets in cells."""
    placed = np.zeros((len(CONCEPTS), variants, side, side, 4), dtype=np.uint8)
    for word, sprite in enumerate(load_sheet(style)):
        picture = Image.fromarray(sprite).convert(
            "RGBa"
        )  # premultiplied, so that resizing does not bleed hidden colours
        for variant in range(variants):
            width = round(side * rng.uniform(0.84, 0.97))
            small = picture.resize((width, width), Image.Resampling.LANCZOS).convert("RGBA")
            pixels = np.asarray(small)[:, :: int(rng.choice((-1, 1)))]
            top, left = rng.integers(0, side - width + 1, size=2)
            placed[word, variant, top : top + width, left : left + width] = pixels
    return placed
