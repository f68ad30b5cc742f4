"""Picture-text pairs that train and measure the tiny CLIP: emoji, clip-art, photo cut-outs, each read from free
packages.

Nothing here downloads. The reader points at unpacked packages (docs/clip.md lists them); a source that is absent is
left out and recorded as absent in the metrics file. Sources and licences:

- emoji: `@iconify-json/{noto,noto-v1,twemoji,fluent-emoji-flat,fxemoji,fluent-emoji}` (Apache-2.0, CC-BY 4.0, MIT)
  with the labels and tags of `emojibase-data` (MIT);
- clip-art: Debian `openclipart-png` (public domain dedication), captions made from file names;
- photo cut-outs: Debian `tuxpaint-stamps-default` (GPL-2), for evaluation only, never part of the product.
"""

import base64
import json
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN_VENDORS = ("noto", "noto-v1", "twemoji", "fluent-emoji-flat", "fxemoji")
HELD_OUT_VENDOR = "fluent-emoji"
# Groups of emojibase that name things: smileys, animals, food, travel, activities, objects, symbols. People in five
# skin tones, modifiers and flags would fill two thirds of the set with near-copies.
EMOJI_GROUPS = frozenset({0, 3, 4, 5, 6, 7, 8})
CLIPART_FOLDERS = (
    "animals", "buildings", "education", "electronics", "food", "office", "people", "plants", "recreation", "tools",
    "transportation",
)  # fmt: skip
STAMP_SKIP = frozenset({"symbols", "cartoon"})  # what is left are cut-outs of photographs
MAX_PIXELS = 40_000_000  # one clip-art file has 168 megapixels
SPRITE_PIXELS = 192


@dataclass(frozen=True)
class Pair:
    """One picture and the texts that are true of it; `concept` groups pictures of the same thing."""

    picture: Path
    texts: tuple[str, ...]
    concept: str
    source: str


def letters(name: str) -> str:
    """The lower-case letters and digits of a name: the key that joins icon names of different sets to one label."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def held_out(concept: str, kept: frozenset[str], share: int = 6) -> bool:
    """True for one concept in `share`, chosen by its name alone; concepts in `kept` (letters only) never are."""
    return letters(concept) not in kept and zlib.crc32(letters(concept).encode()) % share == 0


def emoji_labels(packages: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Label and tags of every emoji of EMOJI_GROUPS, by the letters of its label."""
    rows = json.loads((packages / "emojibase-data/en/data.json").read_text(encoding="utf-8"))
    return {letters(r["label"]): (r["label"], tuple(r["tags"])) for r in rows if r.get("group") in EMOJI_GROUPS}


def emoji_pairs(packages: Path, vendor: str, sprites: Path) -> list[Pair]:
    """Pairs of one vendor; sprites are rendered once into `sprites` as transparent PNG of SPRITE_PIXELS."""
    import resvg_py

    icons = json.loads((packages / "@iconify-json" / vendor / "icons.json").read_text(encoding="utf-8"))
    folder = sprites / vendor
    folder.mkdir(parents=True, exist_ok=True)
    labels = emoji_labels(packages)
    pairs = []
    for name, icon in sorted(icons["icons"].items()):
        if letters(name) not in labels:
            continue
        label, tags = labels[letters(name)]
        path = folder / f"{letters(name)}.png"
        if not path.exists():
            width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
            )
            png = resvg_py.svg_to_bytes(svg_string=svg, width=SPRITE_PIXELS, height=SPRITE_PIXELS)
            path.write_bytes(base64.b64decode(png) if isinstance(png, str) else bytes(png))
        pairs.append(Pair(path, emoji_texts(label, tags), letters(label), vendor))
    return pairs


def emoji_texts(label: str, tags: tuple[str, ...]) -> tuple[str, ...]:
    """Ways to say what an emoji shows: the bare label, two sentences, and the label with its tags."""
    article = "an" if label[0].lower() in "aeiou" else "a"
    return (label, f"{article} {label}", f"a picture of {article} {label}", f"{label}, {', '.join(tags[:3])}")


def clipart_pairs(folder: Path, vocabulary: frozenset[str]) -> list[Pair]:
    """Pairs of the clip-art content folders; a caption is the file name's words that are in `vocabulary`."""
    pairs = []
    for path in sorted(p for top in CLIPART_FOLDERS for p in (folder / top).rglob("*.png")):
        words = [w for w in re.split(r"[^a-z]+", path.stem.lower()) if len(w) > 2 and w in vocabulary]
        place = [w for w in path.parent.name.lower().split("_") if w in vocabulary]
        if words and drawable(path):
            caption = " ".join(words[:4])
            pairs.append(
                Pair(path, (caption, f"a drawing of {caption}", " ".join([*words[:4], *place])), caption, "clipart")
            )
    return pairs


def drawable(path: Path) -> bool:
    """True for a picture whose header says at most MAX_PIXELS."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.width * image.height <= MAX_PIXELS
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return False


def words_of(lines: Iterable[str]) -> frozenset[str]:
    """The words of three letters or more in `lines`, lower case."""
    return frozenset(w for line in lines for w in re.split(r"[^a-z]+", line.lower()) if len(w) > 2)


def stamp_pairs(folder: Path) -> list[Pair]:
    """Photo cut-outs with their English captions (first line of the .txt beside each picture). Evaluation only."""
    pairs = []
    for path in sorted(folder.rglob("*.png")):
        caption = path.with_suffix(".txt")
        if STAMP_SKIP & set(path.relative_to(folder).parts) or not caption.exists():
            continue
        text = caption.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip().rstrip(".")
        if text:
            pairs.append(Pair(path, (text,), text.lower(), "stamps"))
    return pairs


def open_rgba(path: Path, side: int = 2 * SPRITE_PIXELS) -> Image.Image:
    """The picture as RGBA, at most `side` pixels wide and high; refused above MAX_PIXELS."""
    if not drawable(path):
        raise ValueError(f"{path.name} has more than {MAX_PIXELS} pixels")
    with Image.open(path) as image:
        whole = image.convert("RGBA")
    whole.thumbnail((side, side))
    return whole


def on_white(image: Image.Image) -> Image.Image:
    """A transparent picture laid on white, RGB."""
    canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def placed(image: Image.Image, rng: np.random.Generator, pixels: int = SPRITE_PIXELS) -> Image.Image:
    """A transparent picture on a white or coloured square, at a random size (50-100 %) and place, RGB."""
    white = rng.random() < 0.5
    colour = (255, 255, 255) if white else tuple(int(v) for v in rng.integers(60, 256, 3))
    canvas = Image.new("RGBA", (pixels, pixels), (*colour, 255))
    side = pixels * rng.uniform(0.5, 1.0) / max(image.size)
    small = image.resize(
        (max(1, round(image.width * side)), max(1, round(image.height * side))), Image.Resampling.BICUBIC
    )
    corner = [int(rng.integers(0, pixels - s + 1)) for s in small.size]
    canvas.alpha_composite(small, tuple(corner))
    return canvas.convert("RGB")


def crops(image: Image.Image, count: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """`count` random crops of a photograph, sides 25-90 % of the shorter side, RGB."""
    for _ in range(count):
        side = int(min(image.size) * rng.uniform(0.25, 0.9))
        left, top = int(rng.integers(0, image.width - side + 1)), int(rng.integers(0, image.height - side + 1))
        yield image.crop((left, top, left + side, top + side)).convert("RGB")
