"""Rows per second of the CLIP stage against the bare open_clip loop: same pictures, batch, threads and process.

    python -m benchmarks.clip_stage [--count 512] [--batch 32] [--rounds 3]

``bare`` decodes with Pillow, prepares with open_clip's own transform and encodes pictures and texts batch by batch.
``stage`` is the stage as its actor runs it: rows from an Arrow table, notes about batches in flight, float16 embeddings
as Arrow arrays. ``run`` is the whole ``potstill run`` on Ray: the seconds that the stage's actor counted.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image

from benchmarks.common import print_table, seconds, write_pictures
from potstill.pipelines import schema
from potstill.pipelines.notes import Note
from potstill.pipelines.plan import Plan
from potstill.pipelines.rundir import RunDir
from potstill.pipelines.runner import run_plan
from potstill.pipelines.scorers.clip_score import ClipScore
from potstill.pipelines.worker import compute


def bare_loop(pictures: list[bytes], texts: list[str], batch: int) -> None:
    """What anybody would write with open_clip."""
    model, transform, tokenizer = _open_clip()
    with torch.inference_mode():
        for start in range(0, len(pictures), batch):
            images = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures[start : start + batch]]
            a = model.encode_image(torch.stack([transform(image) for image in images]), normalize=True)
            b = model.encode_text(tokenizer(texts[start : start + batch]), normalize=True)
            (a * b).sum(dim=1).tolist()


_loaded: list[Any] = []


def _open_clip() -> tuple[Any, Any, Any]:
    if not _loaded:
        import open_clip

        from potstill.models.tiny.clip import assemble

        name = f"local-dir:{assemble()}"
        model, _, transform = open_clip.create_model_and_transforms(name)
        model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        _loaded.append((model, transform, open_clip.get_tokenizer(name)))
    return _loaded[0]


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        source = write_pictures(Path(folder, "in"), options.count)
        pictures = [path.read_bytes() for path in sorted(source.glob("*.jpg"))]
        texts = [path.read_text() for path in sorted(source.glob("*.txt"))]
        stage = ClipScore(batch_size=options.batch)
        fn = stage.build()
        run = RunDir(folder)

        def in_process(number: int) -> None:
            ids = [f"{number}-{n:030x}" for n in range(options.count)]  # new ids: no picture is decoded already
            columns = {
                schema.SAMPLE_ID: ids,
                schema.IMAGE_ID: ids,
                schema.IMAGE: pa.array(pictures, pa.large_binary()),
                schema.CAPTION: texts,
                schema.RESPONSE: pa.nulls(options.count, pa.string()),
            }
            compute(stage, fn, pa.table(columns), stage.batch_rows, Note(run, "note.json"))

        bare_loop(pictures[: options.batch], texts[: options.batch], options.batch)
        times: dict[str, list[float]] = {"bare": [], "stage": []}
        for number in range(options.rounds):
            times["bare"].append(seconds(lambda: bare_loop(pictures, texts, options.batch)))
            times["stage"].append(seconds(lambda number=number: in_process(number)))
        plan = Plan.model_validate(
            {
                "source": {"kind": "folder", "path": str(source)},
                "stages": [{"kind": "clip_score", "batch_size": options.batch}],
                "resources": {"clip_score": {"num_cpus": 1}},  # a small run that asks for none does without Ray
            }
        )
        result = run_plan(plan, str(Path(folder, "out")))
        times["run"] = [result["stages"][-1]["seconds"]]
    best = {name: options.count / min(values) for name, values in times.items()}
    print_table(
        ("what", "rows/s (best round)", "share of bare"),
        [(name, rate, f"{rate / best['bare']:.1%}") for name, rate in best.items()],
    )


if __name__ == "__main__":
    main()
