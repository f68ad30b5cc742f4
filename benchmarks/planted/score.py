"""How well each operator of a finished run told planted flaws from clean rows, and what the whole plan kept.

    python -m benchmarks.planted.score CORPUS RUN [--claims claims.yaml]

Works for any plan over a planted corpus: the claims file says which stage, or which of its reasons, stands for which
flaws, and which columns are scores of them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field, model_validator

from benchmarks.planted import measure
from benchmarks.planted.generate import COPIES, VARIANTS
from benchmarks.planted.measure import Confusion, as_markdown, auc, counted, percent
from benchmarks.planted.outcome import DUPLICATE, INTAKE, Outcome, read_outcomes
from potstill.config import Settings, read_yaml, validate

CLAIMS: Final = Path(__file__).parent / "claims.yaml"
PLANTED: Final = ("caption_other", "exact_copy", "resized", "other_style", "hallucinated")  # kinds without variants


class Score(Settings):
    """A column that should tell rows with some flaws from clean ones."""

    column: str
    flaws: tuple[str, ...] = Field(min_length=1)
    bad: Literal["low", "high"] = "low"
    """Which end of the column speaks of the flaw."""
    scenes: Literal["any", "single", "several"] = "any"
    """Compare only pictures of one kind of thing, or of several."""


class Operator(Settings):
    """One thing a plan does, and the flaws it claims to catch."""

    stage: str
    """A deciding stage of the plan, or ``intake``."""
    reasons: tuple[str, ...] = ()
    """Of the stage's reasons those that belong to this operator; empty: all."""
    how: Literal["decision", "quarantine", "duplicate"] = "decision"
    """The intake puts rows in quarantine, and names duplicates."""
    flaws: tuple[str, ...] = Field(min_length=1)
    """What it claims to catch: ``kind`` or ``kind.variant``."""
    copies: bool = False
    """The flaws are copies, of which one of a group should stay."""
    scores: tuple[Score, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Operator:
        known = {*PLANTED, *VARIANTS, *(f"{kind}.{name}" for kind, names in VARIANTS.items() for name in names)}
        unknown = sorted({*self.flaws, *(flaw for score in self.scores for flaw in score.flaws)} - known)
        if unknown:
            raise ValueError(f"no flaw {', '.join(unknown)}; flaws: {', '.join(sorted(known))}")
        return self

    def flagged(self, row: Outcome) -> bool:
        """Whether it stopped the row."""
        reason = row.stages.get(self.stage)
        if reason is None or self.reasons:
            return reason in self.reasons
        stopped = reason.startswith("quarantine")
        return {"quarantine": stopped, "duplicate": reason == DUPLICATE, "decision": not stopped}[self.how]


class Claims(Settings):
    """Operator's name -> what it is and claims."""

    operators: dict[str, Operator] = Field(min_length=1)

    @property
    def flaws(self) -> tuple[str, ...]:
        """All that the plan claims to catch."""
        return tuple(dict.fromkeys(flaw for operator in self.operators.values() for flaw in operator.flaws))


def load_claims(path: Path = CLAIMS) -> Claims:
    """The claims in a YAML file. Raises RequestError with every mistake."""
    return validate(Claims, read_yaml(path), str(path))


def confusion_of(operator: Operator, rows: Sequence[Outcome]) -> Confusion:
    """What the operator did with the rows that reached it."""
    rows = [row for row in rows if operator.stage in row.stages]
    if operator.how != "quarantine" and operator.stage == INTAKE:
        rows = [row for row in rows if not str(row.stages[INTAKE]).startswith("quarantine")]
    flagged = [operator.flagged(row) for row in rows]
    clean = [row.clean for row in rows]
    if not operator.copies:
        return measure.confusion(flagged, [row.has(operator.flaws) for row in rows], clean)
    members = [row.clean or row.has(("exact_copy", *operator.flaws)) for row in rows]  # an exact copy is the original
    return measure.copies(flagged, [row.truth["group"] for row in rows], members, clean)


def values(score: Score, rows: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    """The column of clean rows and of rows with the flaws, turned so that low is bad; rows without a value are out."""
    sign = 1 if score.bad == "low" else -1
    with_value = [row for row in rows if row.columns.get(score.column) is not None and _suits(score, row)]
    good = [sign * row.columns[score.column] for row in with_value if row.clean]
    bad = [sign * row.columns[score.column] for row in with_value if row.has(score.flaws)]
    return np.array(good, float), np.array(bad, float)


def _suits(score: Score, row: Outcome) -> bool:
    kinds = len(row.truth["scene"]["objects"])
    return score.scenes == "any" or (kinds == 1) is (score.scenes == "single")


def standing(rows: Sequence[Outcome]) -> list[bool]:
    """Per row whether it stands for clean content in what was kept: itself clean, or a copy in a clean row's place.

    Of several copies the one most like the original stands for it; the others are flaws that got through.
    """
    groups = [row.truth["group"] or row.truth["id"] for row in rows]
    return measure.survivors([row.kept for row in rows], groups, [_rank(row) for row in rows])


def _rank(row: Outcome) -> int | None:
    if row.clean:
        return 0
    kind = row.flaws[0].partition(".")[0]
    return 1 + COPIES.index(kind) if kind in COPIES and len(row.flaws) == 1 else None


def whole(rows: Sequence[Outcome], claims: Claims) -> dict[str, tuple[int, int]]:
    """Name -> (rows, of how many): clean content kept, through a copy or not; flawed rows dropped, claimed or not."""
    stands = standing(rows)
    clean = [row for row in rows if row.clean]
    flawed = [(row, stand) for row, stand in zip(rows, stands, strict=True) if not row.clean and not stand]
    claimed = [row for row, _ in flawed if row.has(claims.flaws)]
    copies = sum(stand and not row.clean for row, stand in zip(rows, stands, strict=True))
    return {
        "clean kept": (sum(stands), len(clean)),
        "clean kept through a copy of theirs": (copies, len(clean)),
        "claimed flaws dropped": (sum(not row.kept for row in claimed), len(claimed)),
        "all flaws dropped": (sum(not row.kept for row, _ in flawed), len(flawed)),
    }


def operator_table(rows: Sequence[Outcome], claims: Claims) -> str:
    """Per operator precision, recall, F1 and false positives."""
    lines = []
    for name, operator in claims.operators.items():
        c = confusion_of(operator, rows)
        lines.append((name, ", ".join(operator.flaws), c.hits + c.missed, c.hits, c.precision, c.recall, c.f1,
                      c.false_clean, c.false_other))  # fmt: skip
    head = ("operator", "claims", "planted", "found", "precision", "recall", "F1", "false on clean", "on other flaws")
    return as_markdown(head, lines)


def score_table(rows: Sequence[Outcome], claims: Claims) -> str:
    """Per score the AUC against clean rows with its 95 % margin."""
    lines = []
    for score in (score for operator in claims.operators.values() for score in operator.scores):
        a = auc(*values(score, rows))
        lines.append((score.column, _of(score), a.value, f"± {1.96 * a.error:.3f}", a.good, a.bad))
    return as_markdown(("score", "flaws", "AUC", "95 %", "clean", "flawed"), lines)


def _of(score: Score) -> str:
    return ", ".join(score.flaws) + ("" if score.scenes == "any" else f" ({score.scenes})")


def kind_table(rows: Sequence[Outcome], claims: Claims) -> str:
    """Per planted flaw: rows, dropped, by which stages; whether a filter claims it."""
    stands = standing(rows)
    held = {row.truth["group"] for row, stand in zip(rows, stands, strict=True) if stand} - {None}
    kinds: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        kinds.setdefault(" + ".join(row.flaws) or "clean", []).append(index)
    lines = []
    for kind in sorted(kinds, key=lambda name: (name != "clean", "+" in name, name)):
        members = [rows[index] for index in kinds[kind]]
        gone = [row for row in members if not row.kept and not (row.clean and row.truth["group"] in held)]
        by = Counter(str(row.dropped_by) for row in gone)
        placed = sum(stands[index] for index in kinds[kind] if not rows[index].clean)
        claimed = "yes" if members[0].has(claims.flaws) else "-" if kind == "clean" else "no"
        lines.append(
            (kind, len(members), placed, len(gone), percent(len(gone), len(members) - placed), claimed, counted(by))
        )
    return as_markdown(
        ("planted", "rows", "stand for their original", "dropped", "of the others", "claimed", "by"), lines
    )


def whole_table(rows: Sequence[Outcome], claims: Claims) -> str:
    """End to end."""
    lines = [(name, part, of, percent(part, of)) for name, (part, of) in whole(rows, claims).items()]
    return as_markdown(("whole plan", "rows", "of", "share"), lines)


def threshold_table(rows: Sequence[Outcome], claims: Claims, lost: Sequence[float] = (0.005, 0.01, 0.02)) -> str:
    """Per score the threshold that costs given shares of the clean rows, and the share of the flawed that it catches.

    For choosing on one split what is reported on another.
    """
    lines = []
    for score in (score for operator in claims.operators.values() for score in operator.scores):
        good, bad = values(score, rows)
        if len(good) and len(bad):
            sign = 1 if score.bad == "low" else -1
            cuts = [float(np.quantile(good, share)) for share in lost]
            cells = [f"{sign * cut:.4g}: {percent(int((bad < cut).sum()), len(bad))}" for cut in cuts]
            lines.append((score.column, _of(score), *cells))
    head = ("score", "flaws", *(f"{share:.1%} of clean lost" for share in lost))
    return as_markdown(head, lines)


def report(rows: Sequence[Outcome], claims: Claims) -> str:
    """All tables, as Markdown."""
    tables = {"Operators": operator_table, "Scores": score_table, "Whole plan": whole_table, "By flaw": kind_table}
    return "\n\n".join(f"### {name}\n\n{table(rows, claims)}" for name, table in tables.items())


def main() -> None:
    """Score a finished run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--claims", type=Path, default=CLAIMS)
    parser.add_argument("--thresholds", action="store_true", help="also print where thresholds would stand")
    options = parser.parse_args()
    rows, claims = read_outcomes(options.corpus, options.run), load_claims(options.claims)
    print(report(rows, claims))
    if options.thresholds:
        print(f"\n### Thresholds\n\n{threshold_table(rows, claims)}")


if __name__ == "__main__":
    main()
