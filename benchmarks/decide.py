"""How long `potstill decide` takes: a stored run of a million rows, decided anew with another threshold.

    python -m benchmarks.decide [--rows 1000000] [--chunk-rows 256] [--keep FOLDER]

The run directory is written first, which takes far longer than the previews (--keep uses it again). Wall seconds and
CPU seconds of each preview; the page cache is warm.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import stored_run
from benchmarks.common import print_table, seconds
from potstill.pipelines.decide.preview import preview

PREVIEWS = {
    "another threshold": {"changes": ["gate.keep.low=clip_score >= 0.25"]},
    "top 30 % of each folder": {"also": ["top_fraction(clip_score, 0.3, by=folder(source))"]},
    "a retention curve": {"of": "clip_score"},
}


def main() -> None:
    """Write the run where it is not there, preview each change, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--chunk-rows", type=int, default=256)
    parser.add_argument("--keep", default="")
    options = parser.parse_args()
    rows: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        url = options.keep or folder
        if not Path(url, "run.json").exists():
            print(f"written in {seconds(lambda: stored_run.write(url, options.rows, options.chunk_rows)):.0f} s")
        for name, arguments in PREVIEWS.items():
            cpu = time.process_time()
            wall = seconds(lambda arguments=arguments: preview(url, **arguments))
            rows.append((name, wall, time.process_time() - cpu))
    print_table(("preview", "seconds", "CPU seconds"), rows)


if __name__ == "__main__":
    main()
