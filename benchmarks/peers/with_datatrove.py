"""datatrove: the user's own function behind its filter, from header alone. Run by run.py in its own environment."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import ParquetWriter
from PIL import Image


def check(data: str, document: Document) -> bool | tuple[bool, str]:
    """Whether the picture is large and wide enough; datatrove takes a reason beside the refusal."""
    try:
        with Image.open(Path(data, document.metadata["image"])) as image:
            wide, high = image.size
    except Exception:  # noqa: BLE001 (whatever one file does, the others go on)
        return False, "unreadable"
    return (max(wide, high) <= 3 * min(wide, high) and min(wide, high) >= 200) or (False, "shape")


def main(_: str, data: str, out: str) -> None:
    """Write the names of the pictures that stay."""
    import pyarrow.parquet as pq

    kept = Path(out).parent / "kept"
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(data, glob_pattern="rows.jsonl", text_key="caption"),
            LambdaFilter(partial(check, data), exclusion_writer=ParquetWriter(str(Path(out).parent / "removed"))),
            ParquetWriter(str(kept)),
        ],
        tasks=1,
        workers=1,
        logging_dir=str(Path(out).parent / "logs"),
    ).run()
    names = [each["image"] for file in kept.glob("*.parquet") for each in pq.read_table(file)["metadata"].to_pylist()]
    Path(out).write_text(json.dumps([Path(name).name for name in names]))


if __name__ == "__main__":
    main(*sys.argv[1:])
