"""What the tiny CLIP is trained on and measured with: pictures, texts, and the frozen towers' features of both.

Features are kept in SOURCES/features, so that reading them again takes half a minute.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from potstill.models.tiny import clip_data as data
from potstill.models.tiny import clip_scenes
from potstill.models.tiny.clip_features import FeatureCache, Towers
from potstill.models.tiny.scenes import HELD_OUT_STYLE, TRAIN_STYLES

SCENE_BLOCKS, SCENES_PER_BLOCK, SCENE_SEED = 3, 3000, 1000
TEST_SCENES, TEST_SEED = 600, 9000
TRAIN_EDITS = ("swap", "swap", "count", "colour")
CROPS_PER_PHOTO = 120


@dataclass
class Everything:
    """What training reads: features by set name, pairs by set name, scene captions by set name, and one text table."""

    rows: dict[str, np.ndarray] = field(default_factory=dict)
    pairs: dict[str, list[data.Pair]] = field(default_factory=dict)
    told: dict[str, list[list[str]]] = field(default_factory=dict)
    kinds: dict[str, list[int]] = field(default_factory=dict)
    texts: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0


def gather(sources: Path) -> Everything:
    """Read every source that is present and compute its features, or read them back."""
    towers, cache, all_ = Towers(sources), FeatureCache(sources / "features"), Everything()
    packages, clipart = sources / "npm/node_modules", sources / "openclipart"
    for vendor in (*data.TRAIN_VENDORS, data.HELD_OUT_VENDOR):
        if (packages / "@iconify-json" / vendor).is_dir():
            all_.pairs[f"emoji-{vendor}"] = data.emoji_pairs(packages, vendor, sources / "sprites")
    if clipart.is_dir():
        labels = data.emoji_labels(packages).values()
        vocabulary = data.words_of(
            [*class_names(), *(label for label, _ in labels), *(t for _, tags in labels for t in tags)]
        )
        all_.pairs["clipart"] = data.clipart_pairs(clipart, vocabulary)
    if (sources / "stamps").is_dir():
        all_.pairs["stamps"] = data.stamp_pairs(sources / "stamps")
    for name, pairs in all_.pairs.items():
        key = f"{name}-{fingerprint([p.picture.name for p in pairs])}"
        all_.rows[name] = cache.get(key, lambda name=name, pairs=pairs: towers.pictures(pictures(name, pairs)))
    photos = sorted((sources / "photos").glob("*"))
    rng = np.random.default_rng(3)
    all_.rows["crops"] = cache.get(
        f"crops-{fingerprint([p.name for p in photos])}",
        lambda: towers.pictures(c for p in photos for c in data.crops(data.open_rgba(p, 1024), CROPS_PER_PHOTO, rng)),
    )
    for name, count, styles, seed, edits in scene_sets():
        scenes, images = clip_scenes.draw(count, styles, seed)
        all_.told[name] = clip_scenes.captions(scenes, edits, seed)
        key = f"{name}-{fingerprint(all_.told[name])}"  # another generator of scenes must not meet these features
        all_.rows[name] = cache.get(key, lambda images=images: towers.pictures(images))
        all_.kinds[name] = [len(s.objects) for s in scenes]
    said = [t for pairs in all_.pairs.values() for p in pairs for t in p.texts]
    said += [t for told in all_.told.values() for texts in told for t in texts] + class_texts()
    all_.texts = cache.texts(f"texts-{fingerprint(said)}", said, towers)
    all_.seconds = sum(cache.seconds.values())
    return all_


def fingerprint(texts: object) -> str:
    """Eight hex digits of a nest of lists of texts."""
    return f"{zlib.crc32(json.dumps(texts).encode()):08x}"


def pictures(name: str, pairs: Sequence[data.Pair]) -> Iterator[Image.Image]:
    """The pictures of a set: training pictures at random sizes and places, evaluation pictures whole on white."""
    rng = np.random.default_rng(7)
    plain = name in ("stamps", f"emoji-{data.HELD_OUT_VENDOR}")
    return ((data.on_white(i) if plain else data.placed(i, rng)) for i in (data.open_rgba(p.picture) for p in pairs))


def scene_sets() -> list[tuple[str, int, tuple[str, ...], int, tuple[str, ...]]]:
    """Name, number, drawing styles, seed and planted errors of each set of scenes."""
    tests = tuple(clip_scenes.EDITS)
    blocks = [(f"scenes-{i}", SCENES_PER_BLOCK, TRAIN_STYLES, SCENE_SEED + i, TRAIN_EDITS) for i in range(SCENE_BLOCKS)]
    return [
        *blocks,
        ("test-scenes", TEST_SCENES, TRAIN_STYLES, TEST_SEED, tests),
        ("test-scenes-new-style", TEST_SCENES, (HELD_OUT_STYLE,), TEST_SEED + 1, tests),
    ]


def class_names() -> Sequence[str]:
    """The 1000 ImageNet class names as open_clip words them."""
    import open_clip

    return open_clip.IMAGENET_CLASSNAMES


def class_texts() -> list[str]:
    """The 1000 sentences that stand for the classifier's classes."""
    return [f"a photo of a {name}" for name in class_names()]
