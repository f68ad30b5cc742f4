"""Train the projection of the tiny CLIP once and write it with its metrics and card.

    python -m potstill.models.tiny.train_clip --out models/tiny/clip_weights --sources DIR

DIR holds unpacked packages (docs/clip.md says which and how to get them). Features are kept in DIR/features, so that
a second fit takes minutes less. One thread; about 20 CPU-minutes in all with every source present.
"""

import argparse
import json
import platform
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from potstill.models.tiny import clip_data as data
from potstill.models.tiny import clip_scenes
from potstill.models.tiny.clip_card import card
from potstill.models.tiny.clip_evaluate import auc, retrieval
from potstill.models.tiny.clip_features import FeatureCache, Towers, classifier, random_projection
from potstill.models.tiny.clip_fit import Pairs, Recipe, Scenes, Teacher, fit
from potstill.models.tiny.scenes import CONCEPTS, HELD_OUT_STYLE, TRAIN_STYLES

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


def train(all_: Everything, recipe: Recipe) -> dict[str, torch.Tensor]:
    """The fitted projection, float16, from all training sets that are present."""
    index = {text: i for i, text in enumerate(all_.texts)}
    table = torch.from_numpy(np.stack(list(all_.texts.values()))).float()
    kept = frozenset(data.letters(c) for c in CONCEPTS)
    rows, choices, concepts = [], [], []
    for name in (*(f"emoji-{v}" for v in data.TRAIN_VENDORS), "clipart"):
        for row, pair in zip(all_.rows.get(name, ()), all_.pairs.get(name, ()), strict=True):
            if not data.held_out(pair.concept, kept):
                rows.append(row)
                choices.append([index[pair.texts[i % len(pair.texts)]] for i in range(4)])
                concepts.append(pair.concept)
    number = {c: i for i, c in enumerate(dict.fromkeys(concepts))}
    pairs = Pairs(
        torch.from_numpy(np.stack(rows)).float(), torch.tensor(choices), torch.tensor([number[c] for c in concepts])
    )
    blocks = [name for name, *_ in scene_sets() if not name.startswith("test")]
    told = [[index[t] for t in texts] for name in blocks for texts in all_.told[name]]
    scenes = Scenes(torch.from_numpy(np.concatenate([all_.rows[b] for b in blocks])).float(), torch.tensor(told))
    weight, bias = classifier()
    teacher = Teacher(weight, bias, table[[index[t] for t in class_texts()]])
    extra = torch.from_numpy(all_.rows["crops"]).float()
    return fit(pairs, scenes, extra, table, teacher, recipe).folded()


def evaluate(all_: Everything, projection: dict[str, torch.Tensor]) -> dict[str, dict[str, float]]:
    """Metrics by set name, all on pictures that training did not see."""
    weight, bias, text = (
        projection[f"{n}"].float().numpy()
        for n in ("visual.head.proj.weight", "visual.head.proj.bias", "text.proj.weight")
    )

    def seen(rows: np.ndarray) -> np.ndarray:
        return unit(rows.astype(np.float32) @ weight.T + bias)

    def said(texts: Sequence[str]) -> np.ndarray:
        return unit(np.stack([all_.texts[t] for t in texts]).astype(np.float32) @ text.T)

    out: dict[str, dict[str, float]] = {}
    for name, source, keep in held_out_sets():
        chosen = [i for i, p in enumerate(all_.pairs.get(source, ())) if keep(p.concept)]
        if chosen:
            own = [all_.pairs[source][i].texts[0] for i in chosen]
            captions = sorted(set(own))
            out[name] = retrieval(seen(all_.rows[source][chosen]), said(captions), [captions.index(t) for t in own])
    for name in (n for n, *_ in scene_sets() if n.startswith("test")):
        rows = seen(all_.rows[name])
        for kind, chosen in kinds(all_.kinds[name]).items():
            told = [all_.told[name][i] for i in chosen]
            right = (rows[chosen] * said([t[0] for t in told])).sum(1)
            wrong = {"easy": np.roll([t[0] for t in told], 1).tolist()}
            wrong |= {edit: [t[k] for t in told] for k, edit in enumerate(clip_scenes.EDITS, start=1)}
            scores = {e: round(auc(right, (rows[chosen] * said(texts)).sum(1)), 3) for e, texts in wrong.items()}
            out[f"{name}, {kind}"] = {"n": len(chosen), **scores}
    return out


def kinds(objects: Sequence[int]) -> dict[str, list[int]]:
    """Scene numbers by how many kinds of object they show."""
    return {
        "one kind": [i for i, n in enumerate(objects) if n == 1],
        "several kinds": [i for i, n in enumerate(objects) if n > 1],
    }


def held_out_sets() -> list[tuple[str, str, Callable[[str], bool]]]:
    """Name, source set and concept test of the retrieval evaluations."""
    kept = frozenset(data.letters(c) for c in CONCEPTS)
    new = f"emoji-{data.HELD_OUT_VENDOR}"
    return [
        ("seen concepts, new vendor", new, lambda c: not data.held_out(c, kept)),
        ("new concepts, new vendor", new, lambda c: data.held_out(c, kept)),
        ("photo cut-outs", "stamps", lambda c: True),
    ]


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, and write the weights folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("models/tiny/clip_weights"), help="folder to write")
    parser.add_argument("--sources", type=Path, required=True, help="folder with the unpacked packages of docs/clip.md")
    for setting in fields(Recipe):
        parser.add_argument(f"--{setting.name.replace('_', '-')}", type=type(setting.default), default=setting.default)
    given = parser.parse_args(arguments)
    recipe = Recipe(**{setting.name: getattr(given, setting.name) for setting in fields(Recipe)})
    torch.set_num_threads(1)
    all_ = gather(given.sources)
    start = time.process_time()
    projection = train(all_, recipe)
    fitted = time.process_time() - start
    metrics = {
        "test": evaluate(all_, projection),
        "control": evaluate(all_, random_projection(recipe.seed)),
        "recipe": asdict(recipe),
        "pictures": {name: len(rows) for name, rows in all_.rows.items()},
        "texts": len(all_.texts),
        "cpu_seconds": {"features": round(all_.seconds), "fit": round(fitted)},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    given.out.mkdir(parents=True, exist_ok=True)
    save_file(projection, given.out / "projection.safetensors")
    (given.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    (given.out / "CARD.md").write_text(card(metrics), encoding="utf-8")
    print(json.dumps(metrics["test"], indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
