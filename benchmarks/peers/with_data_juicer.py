"""Data-Juicer: a recipe of its own operators, local executor. Run by run.py in its own environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

OPERATORS = torch.library.Library("torchvision", "DEF")  # see with_imagededup.py
OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
OPERATORS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

RECIPES = {
    "size": [
        {"image_aspect_ratio_filter": {"min_ratio": 0.333, "max_ratio": 3.0}},
        {"image_shape_filter": {"min_width": 200, "min_height": 200}},
    ],
    "dedup": [{"image_deduplicator": {"method": "phash"}}],
    "clip": [{"image_text_similarity_filter": {"min_score": -1.0, "max_score": 1.0}}],
}


def main(task: str, data: str, out: str, batch: str, model: str) -> None:
    """Write the names of the pictures that stay. ``batch`` is ``default`` or the rows of a batch."""
    import yaml

    work = Path(out).parent
    rows = [json.loads(line) for line in Path(data, "rows.jsonl").read_text().splitlines()]
    with (work / "rows.jsonl").open("w") as file:
        for row in rows:
            text = f"<__dj__image> {row['caption']} <|__dj__eoc|>"
            file.write(json.dumps({"images": [str(Path(data, row["image"]))], "text": text}) + "\n")
    recipe = [{name: dict(options)} for each in RECIPES[task] for name, options in each.items()]
    for each in recipe:
        for options in each.values():
            if task == "clip":
                options["hf_clip"] = model
            if batch != "default":
                options["batch_size"] = int(batch)
    plan = {
        "project_name": "peers",
        "dataset_path": str(work / "rows.jsonl"),
        "export_path": str(work / "out" / "kept.jsonl"),
        "np": 1,
        "process": recipe,
    }
    (work / "recipe.yaml").write_text(yaml.safe_dump(plan))
    sys.argv = ["process_data", "--config", str(work / "recipe.yaml")]
    from data_juicer.tools.process_data import main as process

    process()
    file = work / "out" / "kept.jsonl"
    kept = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    Path(out).write_text(json.dumps([Path(row["images"][0]).name for row in kept]))


if __name__ == "__main__":
    main(*sys.argv[1:])
