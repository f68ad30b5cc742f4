"""A folder of JPEGs of which is known what a tool should keep: originals, copies, narrow pictures, unreadable files."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ORIGINALS, COPIES, NARROW = 0.82, 0.075, 0.03
"""Shares of all rows: pictures of their own; byte copies, and as many near copies; pictures wider than 3 to 1."""


@dataclass(frozen=True)
class Truth:
    """What one file is."""

    name: str
    kind: str
    """``original``, ``copy``, ``near_copy``, ``narrow`` or ``unreadable``."""
    of: str
    """The file that it is a copy of, or itself."""


def write(folder: Path, count: int, unreadable: float, seed: int = 0) -> list[Truth]:
    """``count`` files, ``unreadable`` of them (a share, rounded up), in ``images/``; ``rows.jsonl`` with a caption for
    each; ``truth.json``. Unreadable ones are half no image at all, half a JPEG cut after 200 bytes.

    The others are 384 to 900 pixels wide: smooth colours with a dozen shapes. A near copy is scaled to 80 % and saved
    at quality 60.
    """
    rng = np.random.default_rng(seed)
    bad = int(np.ceil(unreadable * count))
    copies, narrow = round(COPIES * count), round(NARROW * count)
    kinds = ["unreadable"] * bad + ["copy"] * copies + ["near_copy"] * copies + ["narrow"] * narrow
    kinds = ["original"] * (count - len(kinds)) + kinds
    originals: dict[str, Image.Image] = {}
    encoded: dict[str, bytes] = {}
    found: list[Truth] = []
    for number, kind in enumerate(kinds):
        name = of = f"{number:06d}.jpg"
        if kind in ("original", "narrow", "unreadable"):
            picture = _picture(rng, narrow=kind == "narrow")
            data = _jpeg(picture, 90)
            if kind == "original":
                originals[name] = picture
            if kind == "unreadable":
                data = data[:200] if number % 2 else b"<html>no picture</html>" * 20
        else:
            of = list(originals)[int(rng.integers(len(originals)))]
            small = originals[of].resize([round(0.8 * side) for side in originals[of].size], Image.Resampling.LANCZOS)
            data = encoded[of] if kind == "copy" else _jpeg(small, 60)
        encoded[name] = data
        found.append(Truth(name, kind, of))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for truth in (found[place] for place in rng.permutation(len(found))):
        (folder / "images" / truth.name).write_bytes(encoded[truth.name])
        lines.append(
            json.dumps({"image": f"images/{truth.name}", "caption": f"a picture with shapes, {truth.name[3:6]}"})
        )
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "truth.json").write_text(json.dumps([asdict(truth) for truth in found]))
    return found


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _picture(rng: np.random.Generator, *, narrow: bool) -> Image.Image:
    width, height = (int(side) for side in rng.integers(384, 901, 2))
    if narrow:
        width, height = 900, int(rng.integers(210, 280))
    elif max(width, height) > 2.5 * min(width, height):
        height = width
    coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).copy()
    for _ in range(12):
        left, top = int(rng.integers(0, width - 40)), int(rng.integers(0, height - 40))
        wide, high = (int(side) for side in rng.integers(30, 160, 2))
        pixels[top : top + high, left : left + wide] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


def verdict(truths: list[Truth], kept: set[str], task: str) -> dict[str, float | int]:
    """What was kept against what should be: ``kept``, ``should``, ``good_lost`` and, for ``dedup``, ``recall`` and
    ``precision`` over the copies that should go.

    Of a picture and its copies one should stay, whichever; narrow pictures go in ``size`` alone; unreadable ones go.
    """
    readable = [truth for truth in truths if truth.kind != "unreadable"]
    if task == "size":
        good = {truth.name for truth in readable if truth.kind != "narrow"}
        return {"kept": len(kept), "should": len(good), "good_lost": len(good - kept), "bad_kept": len(kept - good)}
    if task != "dedup":
        good = {truth.name for truth in readable}
        return {"kept": len(kept), "should": len(good), "good_lost": len(good - kept), "bad_kept": len(kept - good)}
    groups: dict[str, list[str]] = {}
    for truth in readable:
        groups.setdefault(truth.of, []).append(truth.name)
    staying = {of: len(kept.intersection(names)) for of, names in groups.items()}
    wanted = sum(len(names) - 1 for names in groups.values())
    left = sum(max(count - 1, 0) for count in staying.values())
    lost = sum(count == 0 for count in staying.values())
    hits = wanted - left
    dropped = hits + lost
    return {
        "kept": len(kept),
        "should": len(groups),
        "good_lost": lost,
        "bad_kept": len(kept - {truth.name for truth in readable}),
        "recall": hits / wanted if wanted else 1.0,
        "precision": hits / dropped if dropped else 1.0,
    }
