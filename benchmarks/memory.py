"""Peak memory and speed of `score-tiny` over generated pictures.

    python -m benchmarks.memory [--count 10000] [--side 256] [--actors 2]

Proportional set size of the driver, Ray and its workers together, before and at the peak.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.common import Usage, print_table, seconds, write_pictures
from potstill.pipelines.plan import find_plan, load_plan
from potstill.pipelines.runner import run_plan


def main() -> None:
    """Run once and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--actors", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = write_pictures(Path(folder, "in"), options.count, options.side)
        changes = [f"source.path={source}", f"resources.clip_score.actors={options.actors}"]
        plan = load_plan(find_plan("score-tiny"), changes)
        with Usage() as memory:
            took = seconds(lambda: run_plan(plan, str(Path(folder, "out"))))
    rows = [(options.count, took, options.count / took, memory.before / 2**20, memory.peak / 2**20)]
    print_table(("rows", "seconds", "rows/s", "MiB before", "MiB at the peak"), rows)


if __name__ == "__main__":
    main()
