"""The planted-flaw benchmark from corpus to tables: generate, run the plan, score, and the two controls.

    python -m benchmarks.planted [--size ci|demo] [--split report|calibration] [--work DIR] [--controls]

The tables are printed as Markdown. Thresholds are chosen on the calibration split (``--split calibration`` prints what
each would cost) and reported on the other: two corpora of the same kinds, drawn from different seeds.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.planted import controls, generate
from benchmarks.planted.measure import as_markdown
from benchmarks.planted.outcome import Outcome, read_outcomes
from benchmarks.planted.score import CLAIMS, Claims, load_claims, report, score_table, threshold_table
from potstill.pipelines.plan import load_plan
from potstill.pipelines.runner import run_plan

PLAN: Final = Path(__file__).parent / "plan.yaml"
SPLITS: Final = {"calibration": 1, "report": 2}
"""Split -> seed of its corpus."""


def write_corpus(folder: Path, seed: int, counts: Mapping[str, int]) -> Path:
    """A corpus in an empty folder."""
    generate.write(generate.corpus(seed, counts), folder)
    return folder


def run_corpus(folder: Path, out: Path, plan: Path = PLAN, overrides: Sequence[str] = ()) -> list[Outcome]:
    """Run the plan over a corpus and read what became of each row."""
    run_plan(load_plan(plan, [f"source.path={folder / 'pairs.jsonl'}", *overrides]), str(out))
    return read_outcomes(folder, out)


def with_random_clip(
    folder: Path, out: Path, aside: Path, plan: Path = PLAN, stage: str = "clip_score"
) -> list[Outcome]:
    """The same run with a CLIP of random weights: a copy of it, in which only that stage is computed anew."""
    shutil.copytree(out, aside / "run")
    model = controls.random_clip(aside / "clip")
    return run_corpus(folder, aside / "run", plan, [f"stages.{stage}.model={model}"])


def clip_scores(claims: Claims, column: str = "clip_score") -> Claims:
    """The claims of the operators that have scores in a column, with these scores only."""
    operators = {
        name: operator.model_copy(update={"scores": scores})
        for name, operator in claims.operators.items()
        if (scores := tuple(score for score in operator.scores if score.column == column))
    }
    return Claims(operators=operators)


def training_table(found: Mapping[str, Any]) -> str:
    """The training control."""
    rows = [
        (name, size, f"{100 * found[arm][0]:.1f} ± {100 * found[arm][1]:.1f} %")
        for name, arm, size in (
            ("chosen by the plan", "selected", found["size"]),
            ("random, as many", "random", found["size"]),
            ("chosen minus random", "gain", ""),
        )
    ]
    rows.append(("all rows that can be read", found["pool"], f"{100 * found['all']:.1f} %"))
    return as_markdown(("trained on", "rows", f"objects recognised, {found['rounds']} draws"), rows)


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(generate.SIZES), default="ci")
    parser.add_argument("--split", choices=sorted(SPLITS), default="report")
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--claims", type=Path, default=CLAIMS)
    parser.add_argument("--work", type=Path, help="keep corpus and run in this new folder")
    parser.add_argument("--controls", action="store_true", help="also a CLIP of random weights, and training")
    options = parser.parse_args()
    claims, seed = load_claims(options.claims), SPLITS[options.split]
    with tempfile.TemporaryDirectory() as aside:
        work = options.work or Path(aside, "work")
        corpus = write_corpus(work / "corpus", seed, generate.SIZES[options.size])
        rows = run_corpus(corpus, work / "run", options.plan)
        print(f"## {options.split} split, {options.size}: {len(rows)} rows, seed {seed}\n\n{report(rows, claims)}")
        if options.split == "calibration":
            print(f"\n### Thresholds\n\n{threshold_table(rows, claims)}")
        if options.controls:
            print(f"\n### Training\n\n{training_table(controls.against_random(rows, corpus, seed))}")
            blind = with_random_clip(corpus, work / "run", Path(aside, "blind"), options.plan)
            print(f"\n### Scores of a CLIP with random weights\n\n{score_table(blind, clip_scores(claims))}")
