"""What Ray and the runner cost per row: a run whose one stage does nothing, by number of rows.

    python -m benchmarks.overhead [--counts 1000 8000]

Wall seconds of a whole run in one Ray session that is already up. Small pictures (64 pixels, about 1 KB), so that the
cost of rows shows and not that of bytes. The slope between two sizes is the cost of a row; what is left is the cost of
a run. A second run over the same directory, in which nothing is computed, is measured as well.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from benchmarks.common import print_table, seconds, write_pictures
from potstill.pipelines import schema
from potstill.pipelines.plan import Plan
from potstill.pipelines.runner import run_plan
from potstill.pipelines.stage import BatchFn, RowStage


class Nothing(RowStage):
    """Reads the image and writes a constant."""

    kind: Literal["nothing"] = "nothing"

    def reads(self) -> tuple[str, ...]:
        """The image, so that its bytes travel."""
        return (schema.IMAGE,)

    def writes(self) -> Mapping[str, pa.DataType | None]:
        """One small column."""
        return {self.name: pa.int8()}

    def build(self) -> BatchFn:
        """No model."""
        return lambda rows: {self.name: pa.nulls(rows.num_rows, pa.int8()).fill_null(1)}


class NothingPlan(Plan):
    """A plan of such stages."""

    stages: tuple[Nothing, ...] = ()


def main() -> None:
    """Run each size twice and print the table."""
    import ray

    from benchmarks.overhead import NothingPlan  # by its real name: workers cannot take classes out of __main__

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 8000])
    options = parser.parse_args()
    ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    rows: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in [10, *options.counts]:  # the first starts Ray's workers, and does not count
            source = write_pictures(Path(folder, f"in{count}"), count, side=64)
            tree = {"source": {"kind": "folder", "path": str(source)}, "stages": [{"kind": "nothing"}]}
            plan = NothingPlan.model_validate(tree)
            out = str(Path(folder, f"out{count}"))
            first = seconds(lambda plan=plan, out=out: run_plan(plan, out))
            second = seconds(lambda plan=plan, out=out: run_plan(plan, out))
            rows.append((count, first, second, 1000 * first / count))
    ray.shutdown()
    rows = rows[1:]
    print_table(("rows", "run (s)", "nothing to do (s)", "ms a row"), rows)
    (small, first, *_), (large, last, *_) = rows[0], rows[-1]
    if large > small:
        slope = (last - first) / (large - small)
        print(f"cost of a row: {1000 * slope:.2f} ms; of a run: {first - slope * small:.1f} s")


if __name__ == "__main__":
    main()
