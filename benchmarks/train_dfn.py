"""What a small CLIP trained on trusted pairs finds as a filter: captions of other scenes, planted in a pool.

    python -m benchmarks.train_dfn [--seeds 2] [--out runs/dfn]

The pool is 600 unseen scenes, every other one with the caption of another scene. A small CLIP (that of
`train_clip_distil`) is trained from nothing on 1000 pairs that are trusted, on as many of which half are wrong, and is
exported; `load_clip` scores the pool with each, as a `clip_score` stage does. The table says how often a right pair
scores above a wrong one (AUC), and which share of the 15 % that score best is right. Nothing was tuned.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.common import print_table
from benchmarks.scene_rows import scene_rows, write
from benchmarks.train_clip_distil import TRAINING, recipe, scene
from potstill.models.clip import cosine, load_clip
from potstill.models.tiny.clip_evaluate import auc
from potstill.models.trainers.launch import train, validate_recipe

POOL, KEPT = 600, 0.15


def world(folder: Path) -> Path:
    """Trusted pairs, as many of which half are wrong, and the pool: rows of one folder, told apart by ``part``."""
    if not (folder / "dataset").exists():
        scenes = scene_rows(2 * TRAINING + POOL, POOL, draw=scene).drop_columns(["captions", "wrong", "split"])
        parts = np.repeat(["trusted", "dirty", "pool"], [TRAINING, TRAINING, POOL])
        captions, wrong = np.array(scenes["caption"].to_pylist(), object), np.zeros(len(parts), bool)
        for part in ("dirty", "pool"):
            some = np.flatnonzero(parts == part)[::2]
            captions[some], wrong[some] = np.roll(captions[some], 1), True
        scenes = scenes.set_column(scenes.schema.get_field_index("caption"), "caption", pa.array(captions, pa.string()))
        scenes = scenes.append_column("part", pa.array(parts)).append_column("wrong", pa.array(wrong))
        write(scenes, folder)
    return folder


def scores(model: str, pool: pa.Table) -> np.ndarray:
    """Cosines (n,) of the pool's pairs."""
    clip = load_clip(model, threads=1)
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in pool["image"].to_pylist()]
    return cosine(clip.encode_images(pictures), clip.encode_texts(pool["caption"].to_pylist()))


def found(values: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """AUC, and the share of right pairs among the best."""
    best = np.argsort(-values, kind="stable")[: round(KEPT * len(values))]
    return auc(values[right], values[~right]), float(right[best].mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/dfn"))
    options = parser.parse_args(arguments)
    folder = world(options.out / "scenes")
    pool = pq.read_table(folder / "dataset", filters=[("part", "==", "pool")])
    right = ~np.asarray(pool["wrong"])
    measured = {"random": [found(np.random.default_rng(seed).random(POOL), right) for seed in range(options.seeds)]}
    for part in ("dirty", "trusted"):
        for seed in range(options.seeds):
            told = validate_recipe(recipe(folder, {"part": [part]}, [{"kind": "info_nce"}], seed), "recipe")
            done = train(told, str(options.out / f"{part}-{seed}"))
            measured.setdefault(part, []).append(found(scores(f"local-dir:{done['model']}", pool), right))
    measured["the embedded CLIP"] = [found(scores("tiny", pool), right)]
    rows = [
        [
            name,
            *(
                " / ".join(f"{each[k]:.3f}" for each in seeds) + f" ({mean(each[k] for each in seeds):.3f})"
                for k in (0, 1)
            ),
        ]
        for name, seeds in measured.items()
    ]
    print_table(["scored by a CLIP trained on", "AUC, by seed", f"right among the best {KEPT:.0%}"], rows)


if __name__ == "__main__":
    main()
