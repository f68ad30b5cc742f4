"""Pictures per second of Clip.encode_images against the plain open_clip loop: same pictures, batch, threads and run.

    python benchmarks/clip_loop.py --images FOLDER [--batch 32] [--threads 1] [--repeats 5] [--model tiny]

The plain loop is what open_clip's documentation shows: `preprocess` per picture, `torch.stack`, `encode_image`,
normalise. Both run on the same decoded pictures and the same weights, in turn, so that other load on the machine hits
both. "decode" is PIL alone. Seconds are process CPU seconds and wall seconds; the ratio is taken repeat by repeat.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from potstill.models.clip import load_clip

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def plain_loop(
    model: torch.nn.Module, preprocess: Callable[[Image.Image], torch.Tensor], images: list[Image.Image], batch: int
) -> np.ndarray:
    """Rows (n, d) by open_clip's own steps, on its own NCHW model."""
    device = next(model.parameters()).device
    rows = []
    for start in range(0, len(images), batch):
        stacked = torch.stack([preprocess(image) for image in images[start : start + batch]]).to(device)
        with torch.inference_mode():
            features = model.encode_image(stacked)
            rows.append(features / features.norm(dim=-1, keepdim=True))
    return torch.cat(rows).cpu().numpy()


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def read(folder: Path, limit: int) -> list[bytes]:
    """The bytes of up to `limit` pictures of the folder that decode, repeated in order when there are fewer."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            decode(path.read_bytes())
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        found.append(path.read_bytes())
    if not found:
        raise SystemExit(f"no readable picture ({', '.join(sorted(SUFFIXES))}) in {folder}")
    return [found[i % len(found)] for i in range(limit)]


def decode(content: bytes) -> Image.Image:
    """The picture as RGB."""
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--pretrained")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    import open_clip

    clip = load_clip(given.model, given.pretrained, given.device, threads=given.threads)
    source = given.model
    if source == "tiny":
        from potstill.models.tiny.clip import assemble

        source = f"local-dir:{assemble()}"
    model, _, preprocess = open_clip.create_model_and_transforms(
        source, pretrained=given.pretrained, device=given.device
    )
    contents = read(given.images, given.count)
    images = [decode(content) for content in contents]
    ways = {
        "decode": lambda: [decode(content) for content in contents],
        "preprocess, open_clip": lambda: [preprocess(image) for image in images],
        "preprocess, ours": lambda: [clip.preprocess(image) for image in images],
        "plain open_clip loop": lambda: plain_loop(model.eval(), preprocess, images, given.batch),
        "Clip.encode_images": lambda: clip.encode_images(images, given.batch),
    }
    spread = np.abs(ways["plain open_clip loop"]() - ways["Clip.encode_images"]()).max()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(given.repeats):
        for name, way in ways.items():
            seconds[name].append(timed(way))
    print(f"{given.model}, {given.count} pictures, batch {given.batch}, {given.threads} thread(s), {given.device}")
    print(f"median of {given.repeats} interleaved repeats; largest difference of embeddings {spread:.1e}\n")
    print("| way | pictures / s wall | pictures / CPU-s | share of the plain loop's CPU speed |")
    print("| --- | --- | --- | --- |")
    for name, spent in seconds.items():
        wall, cpu = (statistics.median(given.count / pair[k] for pair in spent) for k in (0, 1))
        ratios = [p[1] / s[1] for p, s in zip(seconds["plain open_clip loop"], spent, strict=True)]
        share = f"{statistics.median(ratios):.2f}" if "loop" in name or "encode" in name else ""
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {share} |")


if __name__ == "__main__":
    main()
