"""Emoji scenes with questions on disk, as a run writes them, and recipes over them."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from PIL import Image

from potstill.models.tiny.chat_questions import questions
from potstill.models.tiny.scenes import SpriteBank, sample_scene


def scene_rows(count, seed=0):
    """Rows of a question about each scene, with a true and a wrong answer, and its caption."""
    rng = np.random.default_rng(seed)
    scenes = [sample_scene(rng) for _ in range(count)]
    rows = []
    for scene, pixels in zip(scenes, SpriteBank(variants=1).render(scenes, rng), strict=True):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        (question,) = questions(scene, rng, 1)
        rows.append(
            {
                "sample_id": xxhash.xxh3_128_hexdigest(file.getvalue()),
                "image": {"bytes": file.getvalue(), "path": "scene.png"},
                "instruction": question.text,
                "response": question.answer,
                "rejected": "There is no whale in the picture.",
                "caption": scene.caption(),
            }
        )
    return rows


def write_scenes(folder, rows):
    """A run directory with these rows."""
    (folder / "dataset").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "dataset" / "part-00000.parquet", row_group_size=16)
    return folder


def recipe(folder, **changes):
    """The embedded chat model, trained on the answers."""
    return {
        "kind": "vlm",
        "data": {"path": str(folder), "window": 16},
        "pretrained": "tiny",
        "losses": [{"kind": "cross_entropy"}],
        "batch_size": 8,
        "steps": 4,
        "optimizer": {"lr": 1e-3},
        "compute": {"threads": 1},
    } | changes
