"""Many conversations about one picture: as branches of one row, and as a row each. CPU seconds of the same steps.

    python -m benchmarks.branches [--pictures 48] [--turns 8] [--rounds 3]

The embedded chat model over emoji scenes. Both arms learn the same words of the same pictures, with the same loss; in
turns, rows prepared (pictures decoded, texts to tokens) and steps made (forward, backward, update).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.common import print_table
from potstill.models.tiny.chat_judges import read_prompts
from potstill.models.tiny.chat_rows import conversation, mixed_turns, rows_of
from potstill.models.tiny.scenes import SpriteBank, sample_scene
from potstill.models.trainers.folder import Folder
from potstill.models.trainers.launch import validate_recipe
from potstill.models.trainers.loop import Training
from potstill.models.trainers.place import alone

PROMPTS = Path(__file__).parents[1] / "pipelines" / "synthesizers" / "prompts"
PICTURES_A_STEP = 8


def write(folder: Path, pictures: int, turns: int) -> dict[str, Path]:
    """The same conversations as Parquet of either form."""
    rng = np.random.default_rng(0)
    scenes = [sample_scene(rng) for _ in range(pictures)]
    told = [
        [turn for turn in mixed_turns(scene, read_prompts(PROMPTS), rng, 2 * turns) if turn.image][:turns]
        for scene in scenes
    ]
    packed, single = [], []
    for number, row in enumerate(rows_of(scenes, SpriteBank(variants=1).render(scenes, rng), told)):
        talks = [conversation(turn) for turn in row["turns"]]
        packed.append({"sample_id": f"{number}", "image": row["image"], "talk": json.dumps(talks)})
        single += [{**packed[-1], "sample_id": f"{number}-{n}", "talk": json.dumps(t)} for n, t in enumerate(talks)]
    paths = {}
    for name, rows in (("branches", packed), ("messages", single)):
        paths[name] = folder / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), paths[name])
    return paths


def measure(path: Path, form: str, batch: int, scratch: Path) -> dict[str, float]:
    """CPU seconds of preparing all rows, and of a step over so many of them; and the tokens of a step."""
    tree: dict[str, Any] = {
        "kind": "vlm", "data": {"path": str(path), "shuffle": False}, "pretrained": "tiny", form: "talk",
        "trainable": ["language"], "losses": [{"kind": "cross_entropy"}], "batch_size": batch, "epochs": 1,
        "compute": {"threads": 1},
    }  # fmt: skip
    recipe = validate_recipe(tree, form)
    training = Training(recipe, Folder(scratch), alone(recipe))
    rows = training.groups.read(training.order.window_rows(0)[: training.order.rows])
    started = time.process_time()
    table = recipe.prepare(rows, training=True)
    prepared = time.process_time() - started
    steps = [training.task.collate(table.slice(start, batch)) for start in range(0, table.num_rows - batch + 1, batch)]
    training._step([steps[0]], 1)
    started = time.process_time()
    for number, inputs in enumerate(steps[1:], 2):
        training._step([inputs], number)
    stepped = (time.process_time() - started) / (len(steps) - 1)
    tokens = np.mean([inputs["attention_mask"].numel() for inputs in steps])
    return {"prepared": prepared, "step": stepped, "tokens": float(tokens)}


def main() -> None:
    """Both arms in turns, and the best of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[dict[str, float]]] = {"branches": [], "messages": []}
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), options.pictures, options.turns)
        for number in range(options.rounds):
            for form, path in paths.items():
                batch = PICTURES_A_STEP * (1 if form == "branches" else options.turns)
                found[form].append(measure(path, form, batch, Path(folder) / f"{form}-{number}"))
    best = {form: {name: min(each[name] for each in rounds) for name in rounds[0]} for form, rounds in found.items()}
    rows = [
        [form, f"{x['tokens']:.0f}", f"{1000 * x['prepared'] / options.pictures:.1f}", f"{1000 * x['step']:.0f}"]
        for form, x in best.items()
    ]
    ratio = [f"{best['messages'][name] / best['branches'][name]:.2f}" for name in ("tokens", "prepared", "step")]
    print_table(["arm", "tokens a step", "prepare, CPU ms a picture", "step, CPU ms"], [*rows, ["ratio", *ratio]])


if __name__ == "__main__":
    main()
