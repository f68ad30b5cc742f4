"""Kill a run at many random moments, run it to its end, and compare the dataset with that of an undisturbed run.

    python benchmarks/crash.py [KILLS] [SEED]

Each round starts the real command line on the same directory and ends its driver by SIGKILL after a random time.
Prints a table; exit code 1 when the hashes differ or a process stays behind.
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.processes import Process, result, write_plan
from tests.toys import computed, pictures

ROWS = 96


def main(kills: int, seed: int) -> int:
    """Number of differences found."""
    draw = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    calls = folder / "calls"
    calls.mkdir()
    source = pictures(folder / "in", ROWS)
    print(f"{'round':>5} {'ended':>8} {'after':>7} {'images':>7} {'samples':>8} {'calls':>6}")
    whole = write_plan(folder / "whole.yaml", source, stages(""))
    process = Process(whole, folder / "whole")
    assert process.wait() == 0, process.output
    expected = result(folder / "whole")["content_hash"]
    plan, out = write_plan(folder / "plan.yaml", source, stages(str(calls))), folder / "out"
    for number in range(kills):
        begun, patience = time.monotonic(), draw.uniform(5, 40)
        process = Process(plan, out)
        alive = process.until(lambda begun=begun, patience=patience: time.monotonic() - begun > patience)
        if alive:
            process.end(signal.SIGKILL)
        files = [len(list(out.glob(f"{kind}/chunk-*"))) for kind in ("images", "samples")]
        row = (number, "killed" if alive else "by itself", f"{time.monotonic() - begun:.1f} s", *files)
        print("{:>5} {:>8} {:>7} {:>7} {:>8}".format(*row), f"{len(list(calls.iterdir())):>6}", flush=True)
    process = Process(plan, out)
    assert process.wait() == 0, process.output
    same = result(out)["content_hash"] == expected
    again = len(computed(calls)) - ROWS - min(72, ROWS)
    print(f"\nsame content: {same}; rows computed again: {again} in {kills} kills; left behind: {len(leftovers(out))}")
    return int(not same) + len(leftovers(out))


def stages(calls: str) -> list[dict[str, object]]:
    """Two toy stages around a selector."""
    return [
        {"kind": "toy", "slow": 0.05, "offset": 1, "calls": calls},
        {"kind": "gate"},
        {"kind": "random_subset", "budget": 72},
        {"kind": "toy", "name": "after", "slow": 0.05, "calls": calls},
    ]


def leftovers(out: Path) -> list[Path]:
    """Unfinished files, and notes about batches."""
    return [*out.rglob(".tmp-*"), *out.rglob(".inflight")]


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(bool(main(*(numbers + [6, 0][len(numbers) :]))))
