"""Daft: decode, measure and hash every picture as columns. Run by run.py in Daft's own environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import daft
from daft import col
from daft.functions import convert_image, decode_image, download, image_hash, image_height, image_width


def main(task: str, data: str, out: str) -> None:
    """Write the names of the pictures that stay."""
    rows = [json.loads(line)["image"] for line in Path(data, "rows.jsonl").read_text().splitlines()]
    frame = daft.from_pydict({"path": [str(Path(data, name)) for name in rows]})
    frame = frame.with_column("raw", download(col("path"), on_error="null"))
    frame = frame.with_column("img", decode_image(col("raw"), on_error="null"))
    columns = {"w": image_width(col("img")), "h": image_height(col("img"))}
    if task == "dedup":
        columns["phash"] = image_hash(convert_image(col("img"), "RGB"), method="phash")
    found = frame.with_columns(columns).select("path", *columns).to_pydict()
    kept, seen = [], set()
    for place, path in enumerate(found["path"]):
        wide, high = found["w"][place], found["h"][place]
        if wide is None:
            continue
        if task == "size" and (max(wide, high) > 3 * min(wide, high) or min(wide, high) < 200):
            continue
        if task == "dedup":
            if str(found["phash"][place]) in seen:
                continue
            seen.add(str(found["phash"][place]))
        kept.append(Path(path).name)
    Path(out).write_text(json.dumps(kept))


if __name__ == "__main__":
    main(*sys.argv[1:])
