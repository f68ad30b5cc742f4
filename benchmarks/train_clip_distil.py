"""What a teacher is worth to a small CLIP: contrast alone, affinity, CLIP-KD, by the trainer itself on emoji scenes.

    python -m benchmarks.train_clip_distil [--seeds 3] [--wrong 0.3] [--out runs/clip-distil]

The teacher is the embedded tiny CLIP (EfficientNet-lite0 and MiniLM); its embeddings are stored once. The student, a
transformer of two layers over nine patches and one of one layer over words, begins from nothing and sees 1000 scenes of
27 things fifteen times. The table says how often the right one of 300 unseen scenes is found first, in percent, the
mean of both directions; mean and standard deviation over seeds, which draw first weights and order. All rows train
alike and nothing was tuned per row.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.common import print_table
from benchmarks.scene_rows import scene_rows, with_teacher, write
from potstill.models.metrics.retrieval import places
from potstill.models.tiny.scenes import EMPTY, Scene, sample_scene
from potstill.models.trainers.launch import train, validate_recipe

TRAINING, HELD_OUT, EVERY = 1000, 300, 4
METHODS: dict[str, list[dict[str, Any]]] = {
    "contrast (info_nce)": [{"kind": "info_nce"}],
    "affinity (clip_affinity)": [{"kind": "clip_affinity"}],
    "contrast + affinity": [{"kind": "info_nce"}, {"kind": "clip_affinity"}],
    "CLIP-KD (info_nce + clip_kd)": [{"kind": "info_nce"}, {"kind": "clip_kd"}],
}
STUDENT: Mapping[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 48, "patch_size": 16, "layers": 2, "width": 96, "head_width": 32},
    "text_cfg": {"context_length": 24, "width": 64, "heads": 2, "layers": 1},
}


def scene(rng: np.random.Generator) -> Scene:
    """A scene of one or two kinds of things, of every fourth concept only."""
    while True:
        drawn = sample_scene(rng)
        kinds = {cell for cell in drawn.cells if cell != EMPTY}
        if len(kinds) <= 2 and not any(kind % EVERY for kind in kinds):
            return drawn


def world(folder: Path, wrong: float) -> Path:
    """Scenes with the teacher's embeddings in a folder, made once."""
    if not (folder / "dataset").exists():
        table = scene_rows(TRAINING + HELD_OUT, HELD_OUT, wrong=wrong, draw=scene).drop_columns(["captions"])
        write(with_teacher(table, "tiny"), folder)
    return folder


def recipe(
    folder: Path, where: Mapping[str, Any], losses: Sequence[Mapping[str, Any]], seed: int, **more: Any
) -> dict[str, Any]:
    """A training of fifteen epochs."""
    return {
        "kind": "clip",
        "data": {"path": str(folder), "where": where, "window": TRAINING},
        "network": {"architecture": "ViT-B-32", "config": STUDENT},
        "losses": list(losses),
        "batch_size": 100,
        "epochs": 15,
        "optimizer": {"lr": 2e-3, "weight_decay": 0.05},
        "learning_rate": {"kind": "cosine", "warmup": 15},
        "seed": seed,
        "compute": {"threads": 1},
    } | more


def teacher_recall(folder: Path) -> float:
    """The same number of the teacher, from its stored embeddings."""
    table = pq.read_table(folder / "dataset", filters=[("split", "==", "val")], columns=["tiny_image", "tiny_text"])
    image, text = (np.stack(table[name].to_pylist()) for name in ("tiny_image", "tiny_text"))
    pairs = np.stack([np.arange(len(image))] * 2, 1)
    return float(np.mean([places(*way, pairs).hits(1).mean() for way in ((image, text), (text, image))]))


def teacher_scale() -> float:
    """Factor of the teacher's similarities."""
    from potstill.models.clip import load_clip

    return load_clip("tiny").model.logit_scale.exp().item()


def results(out: Path, seeds: int, wrong: float, methods: Sequence[str]) -> dict[str, list[float]]:
    """R@1 of every seed by method; a training that was done before is read, not repeated."""
    folder = world(out / f"scenes-{wrong}", wrong)
    more = {
        "validation": {"path": str(folder), "where": {"split": ["val"]}},
        "teacher_columns": {"image": "tiny_image", "text": "tiny_text", "scale": teacher_scale()},
    }
    found: dict[str, list[float]] = {method: [] for method in methods}
    for seed in range(seeds):
        for method in methods:
            told = validate_recipe(recipe(folder, {"split": ["train"]}, METHODS[method], seed, **more), "recipe")
            done = train(told, str(out / f"wrong-{wrong}-{list(METHODS).index(method)}-{seed}"))
            found[method].append(done["metrics"]["recall_1"])
    (out / f"results-{wrong}.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--wrong", type=float, default=0.0, help="share of training captions that are another scene's")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("runs/clip-distil"))
    options = parser.parse_args(arguments)
    found = results(options.out, options.seeds, options.wrong, options.only)
    rows = [[name, f"{100 * mean(x):.1f} +- {100 * (stdev(x) if len(x) > 1 else 0):.1f}"] for name, x in found.items()]
    rows.append(["the teacher itself", f"{100 * teacher_recall(options.out / f'scenes-{options.wrong}'):.1f}"])
    print_table(["trained by", "R@1 of 300 unseen scenes, %"], [*rows, ["chance", f"{100 / HELD_OUT:.1f}"]])


if __name__ == "__main__":
    main()
