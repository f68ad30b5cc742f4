"""What each selector is worth to a small classifier, beside random subsets of equal size.

    python -m benchmarks.selectors [--seeds 5] [--rows 2400] [--budget 120]

Four pools of small pictures (selection_world.py): clean; noisy, with 20 % wrong labels; repeated, with copies and rare
classes; other, where nine in ten rows are drawn in other styles than the test asks for. On each selector's choice the
same classifier is trained with equal steps and batches, and tested on clean pictures of all classes, equally many, at
the last step. Each seed draws a new pool, a new start and new random subsets. A selector beats or loses when its mean
difference from random subsets of the same pools is more than 2.78 standard errors (95 %, 5 seeds); else it ties. Prints
a Markdown table. About a minute and a half on one idle core.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.selection_world import BOOKS, CLASSES, WEB, Classifier, Pool, World, batches, trained
from potstill.pipelines import schema
from potstill.pipelines.coresets.dynamics import softmax
from potstill.pipelines.rowset import RowSet
from potstill.pipelines.selectors.balanced import Balanced
from potstill.pipelines.selectors.capability_budget import CapabilityBudget
from potstill.pipelines.selectors.ccs import CCS
from potstill.pipelines.selectors.concept_clusters import ConceptClusters
from potstill.pipelines.selectors.d4 import D4
from potstill.pipelines.selectors.difficulty import Difficulty
from potstill.pipelines.selectors.facility_location import FacilityLocation
from potstill.pipelines.selectors.herding import Herding
from potstill.pipelines.selectors.k_centre import KCentre
from potstill.pipelines.selectors.mixture import Mixture
from potstill.pipelines.selectors.moderate import Moderate
from potstill.pipelines.selectors.random_subset import RandomSubset
from potstill.pipelines.selectors.rs2 import RS2
from potstill.pipelines.selectors.selector import Selector
from potstill.pipelines.selectors.targeted_transport import TargetedTransport

POOLS = ("clean", "noisy", "repeated", "other")
STEPS, LOG_EPOCHS, TEST_ROWS, TARGET_ROWS, RANDOM_SUBSETS = 400, 12, 1200, 60, 3
STUDENT = 2.78
"""Student's t for 5 seeds, 95 %, two-sided."""
SKILLS = [f"skill_{number}" for number in range(CLASSES)]
COLUMNS = ("embedding", "label", "style", "one", "el2n", "aum", schema.SOURCE, *SKILLS)


def selectors(budget: int, target: str) -> dict[str, Selector]:
    """The arms; columns as :func:`table` names them."""
    space = {"budget": budget, "embedding": "embedding"}
    return {
        "balanced": Balanced(budget=budget, label="label"),
        "mixture, books 4 : web 1": Mixture(budget=budget, weights={BOOKS: 4, WEB: 1}),
        "k_centre": KCentre(**space),
        "k_centre by label": KCentre(**space, by="label"),
        "herding": Herding(**space),
        "herding by label": Herding(**space, by="label"),
        "facility_location": FacilityLocation(**space),
        "facility_location by label": FacilityLocation(**space, by="label"),
        "concept_clusters, farthest": ConceptClusters(**space, clusters=2 * CLASSES),
        "concept_clusters, nearest": ConceptClusters(**space, clusters=2 * CLASSES, keep="nearest"),
        "d4": D4(**space, clusters=2 * CLASSES),
        "moderate": Moderate(**space, label="label"),
        "ccs, aum, beta 0.1": CCS(budget=budget, score="aum", beta=0.1),
        "ccs, aum, beta 0.3": CCS(budget=budget, score="aum", beta=0.3),
        "el2n, hardest": Balanced(budget=budget, label="one", score="el2n"),
        "aum, easiest by label": Balanced(budget=budget, label="label", score="aum"),
        "capability_budget": CapabilityBudget(budget=budget, scores=SKILLS, style="style"),
        f"targeted_transport, {TARGET_ROWS} target rows": TargetedTransport(**space, target=target),
        "aum above 0, then balanced": Balanced(budget=budget, label="label"),
        "aum above 0, then k_centre by label": KCentre(**space, by="label"),
        "aum above 0, then facility_location by label": FacilityLocation(**space, by="label"),
    }


def trained_afresh(pool: Pool, epochs: list[np.ndarray], seed: int) -> Classifier:
    """A classifier after as many batches, a subset after the other, each for its share of them."""
    rng = np.random.default_rng(seed)
    model = Classifier(rng)
    for at in epochs:
        turns = batches(len(at), rng)
        for _ in range(STEPS // len(epochs)):
            batch = at[next(turns)]
            model.step(pool.features[batch], pool.labels[batch])
    return model


def log(pool: Pool, ids: list[str], file: Path, seed: int) -> np.ndarray:
    """Write the training log of one training on the whole pool; returns its last probabilities (n, 12)."""
    rng = np.random.default_rng(seed)
    model, turns, entries = Classifier(rng), batches(len(ids), rng), []
    for epoch in range(LOG_EPOCHS):
        for _ in range(len(ids) // 64):
            at = next(turns)
            model.step(pool.features[at], pool.labels[at])
        logits = model.logits(pool.features)
        columns = {"epoch": np.full(len(ids), epoch), "label": pool.labels, "logits": vectors(logits)}
        entries.append(pa.table({schema.SAMPLE_ID: ids, **columns}))
    pq.write_table(pa.concat_tables(entries), file)
    return softmax(logits)


def vectors(values: np.ndarray) -> pa.Array:
    """A column of float32 vectors."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), values.shape[1])


def table(pool: Pool, folder: Path, seed: int) -> RowSet:
    """The pool as rows in the order of its arrays, with the difficulty that a training log gives."""
    ids = [f"{number:032x}" for number in range(len(pool.labels))]
    said = log(pool, ids, folder / "log.parquet", seed)
    stage = Difficulty(log=str(folder / "log.parquet"))
    found = stage.select(RowSet.of(ids), seed).columns
    columns = {
        "embedding": vectors(pool.embedding),
        "label": pool.labels,
        "style": pool.styles,
        "one": np.zeros(len(ids), np.int64),
        schema.SOURCE: pool.sources.tolist(),
        **{name.removeprefix(f"{stage.name}_"): values for name, values in found.items()},
        **dict(zip(SKILLS, 5 * said.T, strict=True)),
    }
    return RowSet.of(ids, **columns)


def part(given: RowSet, some: np.ndarray) -> RowSet:
    """The rows that are true in ``some``, as a filter lets them through."""
    columns = {name: given.column(name).filter(pa.array(some)) for name in COLUMNS}
    return RowSet.of([text for text, there in zip(given.texts, some, strict=True) if there], **columns)


def scores(world: World, kind: str, seed: int, rows: int, budget: int, only: Callable[[str], bool]) -> dict[str, float]:
    """Accuracy of each arm on one pool, and of the mean of several random subsets, in per cent."""
    rng = np.random.default_rng([seed, POOLS.index(kind)])
    asked = "own" if kind == "other" else "clean"
    pool, test = world.pool(kind, rows, rng), world.pool(asked, TEST_ROWS, rng)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = folder / "target.parquet"
        pq.write_table(pa.table({"embedding": vectors(world.pool(asked, TARGET_ROWS, rng).embedding)}), target)
        given = table(pool, folder, seed)
        trusted = given.numbers("aum") > 0
        found: dict[str, float] = {}
        kept = [RandomSubset(budget=budget).select(given, 100 * seed + n).keep for n in range(RANDOM_SUBSETS)]
        found["random_subset"] = float(np.mean([accuracy(pool, test, keep, seed) for keep in kept]))
        for arm, selector in selectors(budget, str(target)).items():
            if only(arm):
                some = trusted if arm.startswith("aum above 0") else np.ones(rows, bool)
                keep = np.zeros(rows, bool)
                keep[some] = selector.select(part(given, some), seed).keep
                found[arm] = accuracy(pool, test, keep, seed)
    if only("rs2"):
        epochs = RS2(budget=budget, epochs=rows // budget).select(given, seed).columns["rs2_epochs"].to_pylist()
        drawn = [np.array([at for at, mine in enumerate(epochs) if epoch in mine]) for epoch in range(rows // budget)]
        found["rs2, sees all rows"] = trained_afresh(pool, drawn, seed).accuracy(test)
    if only("all rows"):
        found["all rows"] = accuracy(pool, test, np.ones(rows, bool), seed)
    return found


def accuracy(pool: Pool, test: Pool, keep: np.ndarray, seed: int) -> float:
    """Of a classifier that saw the kept rows."""
    rng = np.random.default_rng(seed)
    return trained(pool.features[keep], pool.labels[keep], rng, STEPS).accuracy(test)


def verdict(mine: np.ndarray, random: np.ndarray) -> str:
    """Beats, ties or loses, by the differences on the same pools."""
    difference = mine - random
    doubt = STUDENT * difference.std(ddof=1) / np.sqrt(len(difference))
    return "ties" if abs(difference.mean()) <= doubt else "beats" if difference.mean() > 0 else "loses"


def markdown(found: Mapping[str, list[dict[str, float]]]) -> str:
    """A row per arm, a column per pool: mean, standard deviation over the seeds, verdict."""
    lines = ["| | " + " | ".join(found) + " |", "| --- |" + " --- |" * len(found)]
    for arm in next(iter(found.values()))[0]:
        cells = []
        for runs in found.values():
            mine, random = (np.array([run[name] for run in runs]) for name in (arm, "random_subset"))
            word = "" if arm in ("random_subset", "all rows") else f" {verdict(mine, random)}"
            cells.append(f"{mine.mean():.1f} ± {mine.std(ddof=1):.1f}{word}")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """All arms on all pools."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2400)
    parser.add_argument("--budget", type=int, default=120)
    options = parser.parse_args()
    world, everything = World(), lambda arm: True
    found = {
        kind: [scores(world, kind, seed, options.rows, options.budget, everything) for seed in range(options.seeds)]
        for kind in POOLS
    }
    print(markdown(found))


if __name__ == "__main__":
    main()
