"""The trainer against a bare torch loop on the same tensors: rows/s, in turns.

    python -m benchmarks.trainer_throughput [--rounds 3]

Arms: an MLP over stored vectors, where reading costs nothing to speak of; and a small convolutional network over
pictures, which the trainer reads from Parquet, decodes, cuts and turns meanwhile, on the same cores. The bare loop has
its micro-batches ready in memory: forward, cross-entropy, backward, AdamW, nothing else. Start and end of a training
are left out: both arms count the steps after the first ten.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from benchmarks.common import print_table
from potstill.models.trainers.folder import Folder
from potstill.models.trainers.launch import validate_recipe
from potstill.models.trainers.loop import Training
from potstill.models.trainers.place import alone

FIRST = 10
CLASSES = [f"class-{number}" for number in range(100)]


def write_rows(folder: Path, rows: int, make: Any, kind: pa.DataType) -> Path:
    """A Parquet file of rows with a label and an input."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    table = {
        "sample_id": [f"{number:032x}" for number in range(rows)],
        "label": [CLASSES[k] for k in rng.integers(0, len(CLASSES), rows)],
        "image": pa.array([make(rng) for _ in range(rows)], kind),
    }
    pq.write_table(pa.table(table), folder / "rows.parquet", row_group_size=256)
    return folder


def picture(rng: np.random.Generator) -> bytes:
    """A JPEG of 160 pixels."""
    file = io.BytesIO()
    coarse = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((160, 160), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def recipe(folder: Path, network: dict[str, Any], size: int, steps: int, view: dict[str, Any]) -> Any:
    """A plain classifier."""
    tree = {
        "kind": "classifier", "data": {"path": str(folder), "window": 512}, "network": network, "input": "image",
        "classes": CLASSES, "losses": [{"kind": "cross_entropy"}], "batch_size": size, "steps": steps, "view": view,
        "saving": {"log_every": 20, "checkpoint_every": 10**6},
    }  # fmt: skip
    return validate_recipe(tree, "recipe")


def trainer(made: Any, out: Path) -> float:
    """Rows/s of the trainer after its first steps."""
    training = Training(made, Folder(out), alone(made))
    training.folder.make()
    started: list[float] = []
    step = training.stepper.step

    def counted(*arguments: Any) -> Any:
        if len(started) <= FIRST:
            started.append(time.perf_counter())
        return step(*arguments)

    training.stepper.step = counted
    training._save = lambda _: None
    training.run(training.local(), lambda _: None)
    return (training.total - FIRST) * made.batch_size / (time.perf_counter() - started[FIRST])


def bare(made: Any, out: Path) -> float:
    """Rows/s of a loop over the same micro-batches, ready in memory."""
    training = Training(made, Folder(out), alone(made))
    task, steps = training.task, training.total
    order = training.order
    rows = made.prepare(training.groups.read(order.window_rows(0)), training=True)
    ready = [task.collate(rows.slice(start, made.batch_size)) for start in range(0, 512, made.batch_size)]
    model, optimizer = task.student.train(), torch.optim.AdamW(task.student.parameters(), lr=1e-3)
    begun = 0.0
    for number in range(steps):
        if number == FIRST:
            begun = time.perf_counter()
        batch = ready[number % len(ready)]
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(batch["input"])[0], batch["target"]).backward()
        optimizer.step()
    return (steps - FIRST) * made.batch_size / (time.perf_counter() - begun)


def main() -> None:
    """Run both arms in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        numbers = pa.list_(pa.float32())
        vectors = write_rows(root / "vectors", 4096, lambda rng: rng.normal(size=512).astype(np.float32), numbers)
        pictures = write_rows(root / "pictures", 1024, picture, pa.large_binary())
        mlp, net = {"architecture": "mlp", "hidden": [2048, 2048]}, {"architecture": "resnet10t", "size": 96}
        arms = {
            "vectors, MLP 512-2048-2048-100": recipe(vectors, mlp, 256, 120, {}),
            "pictures, resnet10t at 96": recipe(pictures, net, 32, 60, {"area": [0.35, 1.0], "flip": 0.5}),
        }
        table = []
        for name, made in arms.items():
            ours, theirs = [], []
            for number in range(rounds):
                theirs.append(bare(made, root / f"bare{name[:4]}{number}"))
                ours.append(trainer(made, root / f"ours{name[:4]}{number}"))
            shares = sorted(a / b for a, b in zip(ours, theirs, strict=True))
            best, pairs = max(ours) / max(theirs), f"{shares[0]:.1%} to {shares[-1]:.1%}"
            table.append([name, max(theirs), max(ours), f"{best:.1%}", pairs])
        print_table(["arm", "bare rows/s", "trainer rows/s", "best of each", "in pairs"], table)


if __name__ == "__main__":
    main()
