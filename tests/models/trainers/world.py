"""A small world for trainers: vectors of four classes on disk, and recipes over them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

CLASSES = ("ant", "bee", "cat", "dog")


def write_vectors(folder, rows=240, width=6, files=3, seed=0, name="part"):
    """Parquet files as a run writes them: sample_id, features, label (every tenth row without), split, weight."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(len(CLASSES), width)) * 1.5
    label = rng.integers(0, len(CLASSES), rows)
    features = (centres[label] + rng.normal(size=(rows, width))).astype(np.float32)
    (folder / "dataset").mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "sample_id": [xxhash.xxh3_128_hexdigest(f"{seed}/{n}".encode()) for n in range(rows)],
            "features": pa.array(features.tolist(), pa.list_(pa.float32(), width)),
            "label": [None if n % 10 == 9 else CLASSES[k] for n, k in enumerate(label)],
            "split": ["val" if n % 4 == 0 else "train" for n in range(rows)],
        }
    )
    each = -(-rows // files)
    for number in range(files):
        part = table.slice(number * each, each)
        pq.write_table(part, folder / "dataset" / f"{name}-{number:05d}.parquet", row_group_size=50)
    return folder


def recipe(folder, **changes):
    """A classifier of the vectors."""
    return {
        "kind": "classifier",
        "data": {"path": str(folder), "where": {"split": ["train"]}, "window": 64},
        "validation": {"path": str(folder), "where": {"split": ["val"]}},
        "network": {"architecture": "mlp", "hidden": [16]},
        "input": "features",
        "classes": list(CLASSES),
        "losses": [{"kind": "cross_entropy"}],
        "batch_size": 16,
        "steps": 40,
        "optimizer": {"lr": 0.01},
        "saving": {"best": "accuracy", "evaluate_every": 20, "log_every": 5},
    } | changes
