"""Seconds until a command answers, and until a run has done its first picture.

python -m benchmarks.startup [--rounds 3]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import print_table, seconds, write_pictures


def main() -> None:
    """Time each command in a fresh process; the least of the rounds counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = write_pictures(Path(folder, "in"), 1)
        out = str(Path(folder, "out"))
        commands = {
            "python -c pass": ["-c", "pass"],
            "potstill --help": ["-m", "potstill", "--help"],
            "potstill validate": ["-m", "potstill", "validate", "oasis-tiny"],
            "potstill run, one picture": [
                "-m",
                "potstill",
                "-q",
                "run",
                "score-tiny",
                f"source.path={source}",
                "-o",
                out,
            ],
            "the same again": ["-m", "potstill", "-q", "run", "score-tiny", f"source.path={source}", "-o", out],
        }
        rows = []
        for name, arguments in commands.items():
            rounds = 1 if "run" in name else options.rounds
            times = [
                seconds(lambda a=arguments: subprocess.run([sys.executable, *a], check=True, capture_output=True))
                for _ in range(rounds)
            ]
            rows.append((name, min(times)))
    print_table(("command", "seconds"), rows)


if __name__ == "__main__":
    main()
