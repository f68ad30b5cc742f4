"""Draws the demo pictures of this folder: 48 emoji scenes as JPEG, PNG and WebP of several sizes, the same at every
run. What they show is written to scene-graphs.jsonl, and a label of each, wrong for one in five, to labels.jsonl.

    python samples/draw_samples.py

One picture in six is in the style that the tiny chat model was not trained on. The scenes are not in its training data.
"""

import json
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from potstill.models.tiny.scenes import CONCEPTS, EMPTY, HELD_OUT_STYLE, TRAIN_STYLES, Scene, SpriteBank, sample_scene

FOLDER: Final = Path(__file__).parent
SEED: Final = 48_000_001
COUNT: Final = 48
SIZES: Final = (192, 240, 288, 336)  # pixels
FORMATS: Final = {"jpg": {"quality": 88}, "png": {"optimize": True}, "webp": {"quality": 85}}


def main() -> None:
    """Write scene-00.jpg, scene-01.png, scene-02.webp and so on."""
    rng = np.random.default_rng(SEED)
    banks = {}
    graphs = []
    for number in range(COUNT):
        style = HELD_OUT_STYLE if number % 6 == 5 else TRAIN_STYLES[int(rng.integers(len(TRAIN_STYLES)))]
        size = int(rng.choice(SIZES))
        if (style, size) not in banks:
            banks[style, size] = SpriteBank(size, (style,), variants=1, seed=SEED)
        scene = sample_scene(rng)
        pixels = banks[style, size].render([scene], rng, noise=0.0)[0]
        suffix = list(FORMATS)[number % len(FORMATS)]
        name = f"scene-{number:02d}.{suffix}"
        Image.fromarray(pixels).save(FOLDER / name, **FORMATS[suffix])
        graphs.append(json.dumps({"image": name, "width": size, "objects": objects(scene, size)}) + "\n")
    (FOLDER / "scene-graphs.jsonl").write_text("".join(graphs), encoding="utf-8")
    (FOLDER / "labels.jsonl").write_text("".join(labels(graphs)), encoding="utf-8")


def labels(graphs: list[str]) -> list[str]:
    """A line for each picture with the name of its first thing; every fifth has the name from the picture before it."""
    scenes = [json.loads(graph) for graph in graphs]
    names = [scene["objects"][0]["name"] for scene in scenes]
    told = [names[number - 1] if number % 5 == 4 else name for number, name in enumerate(names)]
    return [
        json.dumps(
            {"image": scene["image"], "caption": name, "wrong": name not in {each["name"] for each in scene["objects"]}}
        )
        + "\n"
        for scene, name in zip(scenes, told, strict=True)
    ]


def objects(scene: Scene, size: int) -> list[dict]:
    """The things of a scene with the boxes of their cells: left, top, right, bottom in pixels."""
    side = size // 3
    boxes = [(side * (cell % 3), side * (cell // 3)) for cell in range(9)]
    return [
        {"name": CONCEPTS[concept], "bbox": [left, top, left + side, top + side]}
        for concept, (left, top) in zip(scene.cells, boxes, strict=True)
        if concept != EMPTY
    ]


if __name__ == "__main__":
    main()
