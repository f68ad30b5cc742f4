"""What a dataset made by Potstill is worth to a small model that sees, beside the captions that came with the pictures.

    python -m benchmarks.train_vlm [--seeds 3] [--pictures 1500] [--steps 150] [--work DIR]

Emoji scenes with a true caption each. The plan ``oasis-tiny`` makes questions and answers out of the pictures alone.
The student is the embedded chat model with the first two of its four layers. It learns, with equal steps and batches,
from the captions, as answers to the bare picture or to "Describe the picture."; from Potstill's dataset; and from
Potstill's dataset with the embedded model as its teacher. Each seed has pictures of its own. Tested on the exported
folder: exact answers to questions about held-out scenes, which are answered from the scene and not by a model, and
right captions of the same. Prints a Markdown table. Ten minutes of one core after the dataset.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from potstill.models.tiny.chat_judges import Turn
from potstill.models.tiny.chat_reading import caption_objects
from potstill.models.tiny.eval_chat import ChatModel, answer_turns, draw_exam, exact
from potstill.models.tiny.scenes import TRAIN_STYLES, SpriteBank, sample_scene
from potstill.models.trainers.launch import train, validate_recipe
from potstill.pipelines.plan import load_plan, shipped_plans
from potstill.pipelines.runner import run_plan

SEED = 40_000_003
RAW, ASKED, MADE, DISTILLED = "raw captions", "raw captions, asked for", "Potstill's dataset", "the same, distilled"
NOTHING = "nothing"
QUESTION = "Describe the picture."
HEAD = ("trained on", "rows a seed", "exact answers", "right captions", "CPU seconds")


def draw_pictures(folder: Path, seeds: int, count: int) -> Path:
    """``count`` pictures for each seed: as a JSONL source with captions, and as Parquet of captions for each seed."""
    folder.mkdir(parents=True)
    with (folder / "pictures.jsonl").open("w") as lines:
        for seed in range(seeds):
            rng = np.random.default_rng((SEED, seed))
            scenes, rows = [sample_scene(rng) for _ in range(count)], []
            pictures = SpriteBank(seed=SEED + seed).render(scenes, rng)
            for number, (scene, picture) in enumerate(zip(scenes, pictures, strict=True)):
                file, name = io.BytesIO(), f"{seed}-{number}.png"
                Image.fromarray(picture).save(file, "PNG")
                (folder / name).write_bytes(file.getvalue())
                lines.write(json.dumps({"image": name, "caption": scene.caption(), "seed": seed}) + "\n")
                row = {"sample_id": name, "image": file.getvalue(), "caption": scene.caption(), "question": QUESTION}
                rows.append(row)
            (folder / f"raw-{seed}").mkdir()
            pq.write_table(pa.Table.from_pylist(rows), folder / f"raw-{seed}" / "part-0.parquet", row_group_size=256)
    return folder


def make_dataset(pictures: Path, out: Path, seeds: int) -> list[Path]:
    """Potstill's dataset of all pictures, cut by seed."""
    if not (out / "dataset" / "README.md").exists():
        changes = ["source.kind=jsonl", f"source.path={pictures / 'pictures.jsonl'}"]
        run_plan(load_plan(shipped_plans()["oasis-tiny"], changes), str(out))
    table = pa.concat_tables(pq.read_table(file) for file in sorted((out / "dataset").glob("part-*.parquet")))
    seed_of = np.array([json.loads(meta)["seed"] for meta in table["meta"].to_pylist()])
    folders = [out / f"made-{seed}" for seed in range(seeds)]
    for seed, folder in enumerate(folders):
        folder.mkdir(exist_ok=True)
        pq.write_table(table.filter(pa.array(seed_of == seed)), folder / "part-0.parquet", row_group_size=256)
    return folders


def recipe(data: Path, seed: int, options: argparse.Namespace, **changes: Any) -> dict[str, Any]:
    """A training of the student."""
    return {
        "kind": "vlm",
        "data": {"path": str(data), "window": 256},
        "pretrained": "tiny",
        "layers": options.layers,
        "losses": [{"kind": "cross_entropy"}],
        "batch_size": options.batch,
        "steps": options.steps,
        "optimizer": {"lr": options.rate, "clip": 1.0},
        "learning_rate": {"kind": "cosine", "warmup": 20},
        "seed": seed,
        "compute": {"threads": 1},
        "saving": {"log_every": 50, "checkpoint_every": 10_000},
    } | changes


def arms(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What differs between the trainings."""
    return {
        RAW: {"instruction": None, "response": "caption"},
        ASKED: {"instruction": "question", "response": "caption"},
        MADE: {},
        DISTILLED: {"teacher": "tiny", "losses": [{"kind": "cross_entropy"}, {"kind": options.loss}]},
    }


def measure(folder: Path, scenes: int) -> dict[str, float]:
    """Shares, in per cent, of exact answers and right captions about held-out scenes.

    A caption is right, in whatever words, when it names all objects with their counts, no others, and the background.
    """
    model, exam = ChatModel(folder), draw_exam(TRAIN_STYLES, scenes)
    answers = exact(model, answer_turns(exam), exam.images)
    told = model.reply([Turn("describe", QUESTION, "")] * scenes, exam.images)
    right = [
        caption_objects(text) == scene.counts and f" {scene.background} " in text
        for text, scene in zip(told, exam.scenes, strict=True)
    ]
    return {"answers": 100 * answers, "captions": 100 * float(np.mean(right))}


def untrained(data: Path, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """What the student can do before it learns."""
    task = validate_recipe(recipe(data, 0, options), NOTHING).build()
    task.export(folder, task.student.state_dict())
    return measure(folder, options.scenes) | {"rows": 0, "seconds": 0}


def rows_of(results: Mapping[str, list[dict[str, float]]]) -> list[list[str]]:
    """Means over seeds with twice their standard error."""
    rows = []
    for name, found in results.items():
        cells = []
        for metric in ("answers", "captions"):
            values = np.array([each[metric] for each in found])
            error = f" ± {2 * values.std(ddof=1) / np.sqrt(len(values)):.1f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.1f}{error}")
        seen = {round(each["rows"]) for each in found}
        seconds = np.mean([each["seconds"] for each in found])
        rows.append([name, " / ".join(map(str, sorted(seen))), *cells, f"{seconds:.0f}"])
    return rows


def main() -> None:
    """Run all arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", type=int, nargs="*", help="some of the seeds, for several processes in one folder")
    parser.add_argument("--arms", nargs="*", help=f"some of {RAW!r}, {ASKED!r}, {MADE!r}, {DISTILLED!r}")
    parser.add_argument("--pictures", type=int, default=1500, help="of each seed")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--loss", default="token_kl", help="of distillation, beside cross_entropy")
    parser.add_argument("--scenes", type=int, default=256, help="held out, a question and a caption each")
    parser.add_argument("--work", type=Path, help="a folder to keep everything in, and to go on from")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        pictures = work / "pictures"
        if not pictures.exists():
            draw_pictures(pictures, options.seeds, options.pictures)
        made = make_dataset(pictures, work / "run", options.seeds)
        results = {NOTHING: [untrained(made[0], work / "untrained", options)]}
        for seed in options.only or range(options.seeds):
            for name, changes in arms(options).items():
                if options.arms and name not in options.arms:
                    continue
                data = pictures / f"raw-{seed}" if name in (RAW, ASKED) else made[seed]
                out = work / "trainings" / f"{name.replace(' ', '-')}-{seed}"
                if not (out / "measured.json").exists():
                    tree, started = recipe(data, seed, options, **changes), time.process_time()
                    done = train(validate_recipe(tree, name), str(out))
                    seconds = time.process_time() - started
                    found = measure(Path(done["model"]), options.scenes) | {"rows": done["rows"], "seconds": seconds}
                    (out / "measured.json").write_text(json.dumps(found))
                found = json.loads((out / "measured.json").read_text())
                print(f"{name}, seed {seed}: {found}", flush=True)
                results.setdefault(name, []).append(found)
    print(f"| {' | '.join(HEAD)} |\n| {' | '.join(['---'] * len(HEAD))} |")
    for row in rows_of(results):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
