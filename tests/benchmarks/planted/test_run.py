"""The whole benchmark on a reduced corpus: real pictures, real models, a real run."""

import pytest

from benchmarks.planted import run
from benchmarks.planted.generate import SIZES
from benchmarks.planted.measure import auc
from benchmarks.planted.score import Score, confusion_of, load_claims, report, values, whole

CLAIMS = load_claims()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def rows(ray_session, folder):
    corpus = run.write_corpus(folder / "corpus", run.SPLITS["report"], SIZES["small"])
    return run.run_corpus(corpus, folder / "run")


def swaps(scenes="any"):
    return Score(column="clip_score", flaws=("caption_swap",), scenes=scenes)


@pytest.mark.ray
def test_the_plans_operators_find_what_they_claim(rows):
    found = {name: confusion_of(operator, rows) for name, operator in CLAIMS.operators.items()}
    assert found["decode"].recall == 1
    for name in ("size and shape", "blank and noise", "language"):
        assert found[name].f1 >= 0.95, (name, found[name])
    for name in ("exact duplicates", "near duplicates"):
        assert found[name].f1 >= 0.99, (name, found[name])
        assert found[name].false_clean == 0


@pytest.mark.ray
def test_clip_tells_wrong_captions_apart(rows):
    assert auc(*values(Score(column="clip_score", flaws=("caption_other",)), rows)).value >= 0.95
    assert auc(*values(swaps("single"), rows)).value >= 0.9


@pytest.mark.ray
def test_the_whole_plan_keeps_clean_content_and_drops_the_flaws_it_claims(rows):
    found = whole(rows, CLAIMS)
    kept, clean = found["clean kept"]
    dropped, claimed = found["claimed flaws dropped"]
    assert kept / clean >= 0.97, report(rows, CLAIMS)
    assert dropped / claimed >= 0.95, report(rows, CLAIMS)


@pytest.mark.ray
def test_a_clip_of_random_weights_cannot_tell_a_swapped_caption(rows, folder):
    blind = run.with_random_clip(folder / "corpus", folder / "run", folder / "blind")
    found = auc(*values(swaps(), blind))
    assert found.good > 40
    assert found.bad == SIZES["small"]["caption_swap"]
    assert abs(found.value - 0.5) < 2 * found.error
    assert auc(*values(swaps(), rows)).value > found.value + 2 * found.error


@pytest.mark.ray
def test_the_claims_stand_for_stages_and_reasons_of_the_plan(rows):
    stages = {name for row in rows for name in row.stages}
    assert {operator.stage for operator in CLAIMS.operators.values()} <= stages
    columns = {name for row in rows for name in row.columns}
    assert {score.column for operator in CLAIMS.operators.values() for score in operator.scores} <= columns


def test_only_the_scores_of_one_column_are_shown_of_the_control():
    shown = run.clip_scores(CLAIMS)
    assert list(shown.operators) == ["clip"]
    assert {score.column for operator in shown.operators.values() for score in operator.scores} == {"clip_score"}


def test_the_training_table_shows_means_and_spreads_in_percent():
    found = {"size": 90, "kept": 100, "pool": 200, "rounds": 5, "gain": (0.05, 0.01), "all": 0.3,
             "selected": (0.25, 0.004), "random": (0.2, 0.02)}  # fmt: skip
    assert run.training_table(found).splitlines() == [
        "| trained on | rows | objects recognised, 5 draws |",
        "| --- | --- | --- |",
        "| chosen by the plan | 90 | 25.0 ± 0.4 % |",
        "| random, as many | 90 | 20.0 ± 2.0 % |",
        "| chosen minus random |  | 5.0 ± 1.0 % |",
        "| all rows that can be read | 200 | 30.0 % |",
    ]
