"""How much to believe the teacher when a part of the pool is kept: accuracy by kept fraction and alpha.

    python -m benchmarks.distil_pruned [--seeds 4]

The harder setting of `benchmarks/distil_toy.py`. The teacher has seen the whole pool of 15,000 rows, the student a
random part of it, with ``(1 - alpha) CE + alpha KD`` at temperature 4 (Ben-Baruch et al. 2024, arXiv 2403.07854). The
student makes as many steps whatever was kept. Prints a Markdown table: test accuracy in per cent, mean over seeds, and
the best alpha of each row. About five minutes of one core.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

from benchmarks.distil_toy import EPOCHS, HARD, Arm, accuracies, task
from potstill.models.losses.cross_entropy import CrossEntropy
from potstill.models.losses.kd import Kd

KEPT = (0.02, 0.08, 0.24, 0.8)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)
ROWS = 1200
"""Rows that a student sees in an epoch, whatever was kept: small parts come round more often."""


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    taught = task(HARD)
    arms = {alpha: Arm((CrossEntropy(weight=1 - alpha), Kd(weight=alpha))) for alpha in ALPHAS}
    print(f"teacher {taught.teacher_accuracy:.1f}\n")
    print("| kept | rows | " + " | ".join(f"{alpha:g}" for alpha in ALPHAS) + " | best alpha |")
    print("| " + " | ".join(["---"] * (len(ALPHAS) + 3)) + " |")
    for kept in KEPT:
        rows = round(kept * HARD.teacher_rows)
        epochs = round(EPOCHS * ROWS / rows)
        found = accuracies(replace(HARD, rows=rows), taught, {str(a): arm for a, arm in arms.items()}, seeds, epochs)
        means = [float(np.mean(each)) for each in found.values()]
        spread = float(np.mean([np.std(each, ddof=1) for each in found.values()]))
        cells = " | ".join(f"{mean:.1f}" for mean in means)
        print(f"| {kept:g} | {rows} | {cells} | {ALPHAS[int(np.argmax(means))]:g} (sd {spread:.1f}) |", flush=True)


if __name__ == "__main__":
    main()
