"""A small CLIP, a smaller one, and scenes with captions on disk."""

from benchmarks.scene_rows import scene_rows, write

STUDENT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 48, "patch_size": 16, "layers": 1, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 32, "width": 32, "heads": 2, "layers": 1},
}
GROUPS = ("animal", "food", "tool", "vehicle", "clothing", "plant", "ball", "instrument")


def scenes(rows=60, held_out=20, **changes):
    """A table of scenes of 48 pixels."""
    return scene_rows(rows, held_out, size=48, **changes)


def write_scenes(folder, table=None):
    """The same as a run's product, in row groups of 20."""
    return write(scenes() if table is None else table, folder, group=20)


def recipe(folder, **changes):
    """A CLIP of a few thousand numbers beside its vocabulary."""
    return {
        "kind": "clip",
        "data": {"path": str(folder), "where": {"split": ["train"]}, "window": 20},
        "validation": {"path": str(folder), "where": {"split": ["val"]}},
        "network": {"architecture": "ViT-B-32", "config": STUDENT},
        "losses": [{"kind": "info_nce"}],
        "batch_size": 20,
        "steps": 6,
        "optimizer": {"lr": 0.003},
        "saving": {"log_every": 1},
    } | changes
