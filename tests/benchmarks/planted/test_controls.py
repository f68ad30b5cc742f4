import numpy as np
import pytest

from benchmarks.planted import controls, pictures
from benchmarks.planted.generate import corpus, write
from benchmarks.planted.outcome import Outcome
from potstill.models.clip import clip_revision, load_clip
from potstill.models.tiny.scenes import CONCEPTS

FEW = {"rounds": 2, "validation": 10, "test": 10, "filters": 40}


def test_a_caption_names_concepts_one_by_one():
    label = controls.named("Two dogs at the top left and an egg at the centre, on a blue background.")
    assert [CONCEPTS[i] for i in np.flatnonzero(label)] == ["dog", "egg"]
    assert not controls.named("Una imagen con un perro.").any()
    assert not controls.named("").any()


def test_a_weak_ridge_finds_a_linear_map_and_a_strong_one_says_the_mean():
    rng = np.random.default_rng(0)
    x, true = rng.normal(2, 3, (50, 4)), rng.normal(size=(4, 2))
    y = x @ true + 7
    weights, bias = controls.ridge(x, y, 1e-12)
    np.testing.assert_allclose(weights, true, atol=1e-6)
    np.testing.assert_allclose(bias, 7, atol=1e-5)
    weights, bias = controls.ridge(x, y, 1e12)
    np.testing.assert_allclose(x @ weights + bias, np.broadcast_to(y.mean(0), y.shape), atol=1e-6)


def test_recall_counts_true_labels_among_as_many_best_scores():
    truth = np.array([[1, 1, 0], [0, 0, 1]], np.float32)
    scores = np.array([[0.9, 0.1, 0.5], [0.2, 0.1, 0.3]])  # first row: one of its two; second: its only one
    assert controls.recall(scores, truth) == pytest.approx(2 / 3)


def test_a_picture_fits_its_own_patches_best_wherever_they_are():
    rows = corpus(6, {"clean": 12})
    data = [row.data for row in rows]
    patches = controls.templates(data[:1], 200, np.random.default_rng(0))
    assert patches.shape[1:] == (3, controls.PATCH, controls.PATCH)
    assert 100 < len(patches) <= 200
    np.testing.assert_allclose(np.linalg.norm(patches.reshape(len(patches), -1), axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(patches.mean((2, 3)), 0, atol=1e-4)
    fit = controls.features(data, patches)
    assert fit.shape == (12, len(patches))
    assert ((fit >= 0) & (fit <= 0.7)).all()
    assert fit[0].mean() > 1.5 * fit[1:].mean(1).max()


def test_the_strength_is_chosen_on_the_first_held_part_alone(monkeypatch):
    asked = []

    def ridge(x, y, strength):
        asked.append(strength)
        return np.full((1, 2), strength), np.zeros(2)

    def recall(scores, truth):
        return 1 - scores[0, 0] if truth is first[1] else scores[0, 0]

    monkeypatch.setattr(controls, "ridge", ridge)
    monkeypatch.setattr(controls, "recall", recall)
    first, second = ((np.ones((1, 1)), np.ones((1, 2))) for _ in range(2))
    assert controls.train_and_test((first[0], first[1]), [first, second]) == controls.STRENGTHS[0]
    assert asked == [*controls.STRENGTHS, controls.STRENGTHS[0]]


def test_right_labels_teach_more_than_as_many_of_which_half_are_wrong():
    rng = np.random.default_rng(0)

    def world(rows, wrong=0):
        y = np.eye(8, dtype=np.float32)[rng.integers(8, size=rows)]
        x = y @ centres + rng.normal(0, 1.2, (rows, 6))
        y[:wrong] = np.roll(y[:wrong], 1, axis=1)
        return x, y

    centres = rng.normal(size=(8, 6))
    pool, held = world(400, wrong=200), [world(200), world(400)]
    kept = np.arange(400) >= 200
    found = controls.compare(pool, kept, held, seed=1, rounds=5)
    assert (found["size"], found["kept"], found["pool"]) == (180, 200, 400)
    assert found["gain"][0] == pytest.approx(found["selected"][0] - found["random"][0])
    assert found["gain"][0] > 3 * found["gain"][1] > 0
    no_choice = controls.compare(pool, np.ones(400, bool), held, seed=1, rounds=5)
    assert abs(no_choice["gain"][0]) < 2 * no_choice["gain"][1]


def test_a_row_that_cannot_be_read_or_names_nothing_is_in_neither_arm(tmp_path):
    rows = corpus(3, {"clean": 20, "broken": 4, "bad_text": 4})
    write(rows, tmp_path)
    outcomes = [
        Outcome(row.truth(line, f"images/{line:06d}.{row.suffix}"),
                {"intake": "quarantine: X" if row.flaws and "broken" in row.flaws[0] else None})
        for line, row in enumerate(rows, start=1)
    ]  # fmt: skip
    named = sum(controls.named(row.caption).any() for row in rows if not row.flaws or "broken" not in row.flaws[0])
    assert 20 <= named < 24
    found = controls.against_random(outcomes, tmp_path, 3, **FEW)
    assert (found["pool"], found["kept"]) == (named, named)
    assert 0 <= found["all"] <= 1


def test_a_random_clip_is_another_model_whose_scores_still_differ_between_pictures(tmp_path):
    name = controls.random_clip(tmp_path / "clip")
    assert clip_revision(name) != clip_revision("tiny")
    clip = load_clip(name)
    rows = corpus(4, {"clean": 24})
    images, texts = (
        clip.encode_images([pictures.opened(row.data) for row in rows]),
        clip.encode_texts([row.caption for row in rows]),
    )
    own = (images * texts).sum(1)
    assert own.std() > 0.005
    other = (images * np.roll(texts, 1, axis=0)).sum(1)
    assert abs(np.mean(own > other) - 0.5) < 0.35
