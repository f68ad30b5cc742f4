"""Projectors bring together what two frozen encoders say of the same thing."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from potstill.config import RequestError
from potstill.models.losses.logits import TopK
from potstill.models.trainers import stored
from potstill.models.trainers.launch import train, validate_recipe
from potstill.models.trainers.projector_task import Projectors, load_projectors


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two views of a hidden vector of 8 numbers: 12 for the picture, 10 for the text."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(400, 8))
    sides = {"image": 12, "text": 10}
    views = {f"clip_score_{side}": np.tanh(hidden @ rng.normal(size=(8, width))) for side, width in sides.items()}
    table = {
        name: pa.array(list(x.astype(np.float16)), pa.list_(pa.float16(), x.shape[1])) for name, x in views.items()
    }
    folder = tmp_path_factory.mktemp("run")
    ids = [f"{n:032x}" for n in range(400)]
    rows = pa.table({"sample_id": ids, "split": ["val" if n < 100 else "train" for n in range(400)], **table})
    pq.write_table(rows, folder / "rows.parquet", row_group_size=64)
    return folder


def recipe(folder, **changes):
    base = {
        "kind": "projector",
        "data": {"path": str(folder), "where": {"split": ["train"]}, "window": 300},
        "validation": {"path": str(folder), "where": {"split": ["val"]}},
        "hidden": [32],
        "width": 16,
        "losses": [{"kind": "info_nce"}],
        "batch_size": 50,
        "steps": 150,
        "optimizer": {"lr": 0.01},
        "saving": {"best": "r1"},
    }
    return validate_recipe(base | changes, "recipe")


def test_recall_rises_far_above_chance_and_the_export_gives_the_same_vectors(run, tmp_path):
    done = train(recipe(run), str(tmp_path / "out"))
    assert done["metrics"]["r1"] > 0.3 > 10 * 0.01
    model = load_projectors(tmp_path / "out" / "model")
    image, text, scale = model(torch.randn(3, 12), torch.randn(3, 10))
    assert image.shape == text.shape == (3, 16) and torch.allclose(image.norm(dim=1), torch.ones(3), atol=1e-5)
    assert 1 < scale <= 100


def test_columns_that_are_no_vectors_are_refused(run, tmp_path):
    with pytest.raises(RequestError, match="column 'split' is string; a projector wants vectors"):
        train(recipe(run, text="split"), str(tmp_path / "a"))
    rows = pq.read_table(run / "rows.parquet")
    holes = pa.array([None, *rows["clip_score_text"].to_pylist()[1:]], pa.list_(pa.float16()))
    at = rows.column_names.index("clip_score_text")
    (tmp_path / "holes").mkdir()
    pq.write_table(rows.set_column(at, "clip_score_text", holes), tmp_path / "holes" / "rows.parquet")
    data = {"path": str(tmp_path / "holes"), "shuffle": False}
    with pytest.raises(
        RequestError, match="has no vector in 1 of 50 rows that the loss info_nce counts; drop them, or give"
    ):
        train(recipe(run, data=data), str(tmp_path / "b"))


NAMES = ("ant", "bee", "cat", "dog", "eel")
ABOUT = stored.about(classes=stored.names_digest(NAMES), temperature=1.0)
SORTS = 240


@pytest.fixture(scope="module")
def sorts(tmp_path_factory):
    """Rows of two sorts in turn: pictures with a text and up to two wrong ones; and pictures without any, of which a
    classifier has said something. What the classes' vectors mean can be learnt from the second sort alone.
    """
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(SORTS, 8))
    seen, said = rng.normal(size=(8, 12)), rng.normal(size=(8, 10))
    kinds = rng.normal(size=(len(NAMES), 8))
    logits = hidden @ kinds.T
    logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    best = np.argsort(-logp, 1)[:, :3]
    paired = np.arange(SORTS) % 2 == 0
    texts = (hidden @ said).astype(np.float32)
    wrong = [[texts[(n + 2) % SORTS], texts[(n + 4) % SORTS]][: n // 2 % 3] for n in range(SORTS)]
    rows = {
        "sample_id": [f"{n:032x}" for n in range(SORTS)],
        "image": pa.array(list((hidden @ seen).astype(np.float16)), pa.list_(pa.float16())),
        "text": pa.array([x if kept else None for x, kept in zip(texts, paired, strict=True)], pa.list_(pa.float32())),
        "pair": pa.array([True if kept else None for kept in paired]),
        "wrong": [w if kept else None for w, kept in zip(wrong, paired, strict=True)],
        "t_idx": [None if kept else x.astype(np.int16) for x, kept in zip(best, paired, strict=True)],
        "t_logp": [None if kept else logp[n, best[n]] for n, kept in enumerate(paired)],
        "t_views": [None if kept else [{"box": None, "flip": False}] for kept in paired],
        "t_about": [None if kept else ABOUT for kept in paired],
    }
    folder = tmp_path_factory.mktemp("sorts")
    pq.write_table(pa.table(rows), folder / "rows.parquet", row_group_size=60)
    vectors = {"classes": torch.tensor((kinds @ said).astype(np.float16))}
    save_file(vectors, folder / "classes.safetensors", {"names": json.dumps(NAMES)})
    return folder


def sorted_recipe(folder, **changes):
    base = {
        "kind": "projector",
        "data": {"path": str(folder), "window": 120},
        "validation": {"path": str(folder)},
        "image": "image",
        "text": "text",
        "masks": ["pair"],
        "negatives": "wrong",
        "negatives_each": 2,
        "classes": str(folder / "classes.safetensors"),
        "teacher_columns": "t",
        "width": 8,
        "losses": [
            {"kind": "info_nce", "mask": "pair", "wrong": "negatives"},
            {"kind": "topk_kl", "mask": "taught"},
        ],
        "batch_size": 40,
        "steps": 150,
        "optimizer": {"lr": 0.02},
        "saving": {"log_every": 1},
    }
    return validate_recipe(base | changes, "recipe")


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_rows_of_two_sorts_learn_from_pairs_wrong_texts_and_a_stored_classifier(sorts, tmp_path):
    done = train(sorted_recipe(sorts), str(tmp_path))
    assert done["metrics"]["image_to_text_r5"] > 0.5 > 10 * 5 / (SORTS / 2)
    entries = [entry for entry in logged(tmp_path) if "loss/topk_kl" in entry]
    assert entries[-1]["loss/topk_kl"] < 0.1 < 0.4 < entries[0]["loss/topk_kl"]
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert weights["log_class_scale"] != weights["log_scale"]


def batch_of(sorts, count=12, **changes):
    """A task, and its first rows in the order of the file."""
    recipe = sorted_recipe(sorts, **changes)
    rows = pq.read_table(sorts / "rows.parquet", columns=list(recipe.columns())).slice(0, count)
    task = recipe.build()
    rows = rows.append_column("_epoch", pa.array([1] * count))
    return task, task.collate(recipe.prepare(rows, training=True)), rows


def test_what_a_row_lacks_is_zeros_and_no_part_of_its_mask(sorts):
    task, inputs, rows = batch_of(sorts)
    even = torch.arange(12) % 2 == 0
    masks = task.labels(inputs).masks
    assert set(masks) == {"pair", "paired", "taught"}
    assert (
        torch.equal(masks["pair"], even) and torch.equal(masks["paired"], even) and torch.equal(masks["taught"], ~even)
    )
    torch.testing.assert_close(inputs["text"][2], torch.tensor(rows["text"][2].as_py()))
    assert not inputs["text"][~even].any()
    there = inputs["negatives"].any(-1)
    assert there.sum(1).tolist() == [0, 0, 1, 0, 2, 0, 0, 0, 1, 0, 2, 0]
    torch.testing.assert_close(inputs["negatives"][4, 1], torch.tensor(rows["wrong"][4].as_py()[1]))
    seen = task.see(task.student, inputs, frozenset())
    assert torch.equal(seen.features["negatives"].any(-1), there) and not seen.text[~even].any()
    alone = task.student.text(inputs["negatives"][4] / inputs["negatives"][4].norm(dim=1, keepdim=True))
    torch.testing.assert_close(seen.features["negatives"][4], alone / alone.norm(dim=1, keepdim=True))
    (said,) = task.teach(inputs, frozenset())
    assert isinstance(said.logits, TopK) and said.logits.classes == len(NAMES)
    assert said.logits.idx[1].tolist() == rows["t_idx"][1].as_py()
    assert said.logits.logp[1].tolist() == pytest.approx(rows["t_logp"][1].as_py())


def test_more_wrong_texts_than_are_taken_are_left_out(sorts):
    _, inputs, rows = batch_of(sorts, negatives_each=1)
    assert inputs["negatives"].shape[1] == 1
    torch.testing.assert_close(inputs["negatives"][4, 0], torch.tensor(rows["wrong"][4].as_py()[0]))


def test_micro_batches_and_one_batch_count_taught_rows_alike(sorts, tmp_path):
    """The mean of a distillation is over the rows that count, wherever they fall."""
    losses = [{"kind": "topk_kl", "mask": "taught"}]
    found = {}
    for pieces in (1, 5):
        out = tmp_path / str(pieces)
        train(sorted_recipe(sorts, losses=losses, steps=2, accumulation=pieces, validation=None), str(out))
        found[pieces] = [entry["loss/topk_kl"] for entry in logged(out) if "loss/topk_kl" in entry]
    assert len(found[1]) == 2 and found[5] == pytest.approx(found[1], rel=1e-5)


def test_a_loss_that_counts_rows_without_what_it_needs_is_refused(sorts, tmp_path):
    info, kl = {"kind": "info_nce", "mask": "pair"}, {"kind": "topk_kl", "mask": "taught"}
    for losses, said in [
        ([{"kind": "info_nce"}, kl], "'text' has no vector in 20 of 40 rows that the loss info_nce counts"),
        ([{"kind": "info_nce", "mask": "taught"}], "'text' has no vector in 20 of 40 rows"),
        ([info, {"kind": "topk_kl", "mask": "pair"}], "'t_idx' has no vector in 20 of 40 rows .* mask .* as taught"),
    ]:
        recipe = sorted_recipe(sorts, losses=losses, data={"path": str(sorts), "window": 40, "shuffle": False})
        with pytest.raises(RequestError, match=said):
            train(recipe, str(tmp_path / "out"))


def test_settings_that_do_not_fit_are_refused(sorts, tmp_path):
    with pytest.raises(RequestError, match="the mask 'pairs' of info_nce is none of pair, paired, taught"):
        sorted_recipe(sorts, losses=[{"kind": "info_nce", "mask": "pairs"}])
    with pytest.raises(RequestError, match="teacher_columns wants classes"):
        sorted_recipe(sorts, classes=None)
    with pytest.raises(RequestError, match=r"column 'text' is list.*a mask is true or false"):
        batch_of(sorts, masks=["text", "pair"])
    with pytest.raises(RequestError, match=r"column 'text' is list.*negatives are a list of vectors"):
        batch_of(sorts, negatives="text")
    save_file({"classes": torch.zeros(5, 10)}, tmp_path / "nameless.safetensors")
    for path in ("nameless.safetensors", "absent.safetensors"):
        with pytest.raises(RequestError, match=f"{path} is no safetensors file with a tensor `classes`"):
            train(sorted_recipe(sorts, classes=str(tmp_path / path)), str(tmp_path / "out"))
    save_file({"classes": torch.zeros(5, 10)}, tmp_path / "other.safetensors", {"names": json.dumps(NAMES[::-1])})
    with pytest.raises(RequestError, match="t was stored with classes"):
        train(sorted_recipe(sorts, classes=str(tmp_path / "other.safetensors")), str(tmp_path / "out"))
    save_file({"classes": torch.zeros(5, 9)}, tmp_path / "narrow.safetensors", {"names": json.dumps(NAMES)})
    with pytest.raises(RequestError, match="vectors of 9 numbers, and the texts have 10"):
        sorted_recipe(sorts, classes=str(tmp_path / "narrow.safetensors")).build()


def test_a_projector_without_bias_and_normalising_is_two_matrices(sorts, tmp_path):
    train(sorted_recipe(sorts, normalise=False, text_bias=False, steps=1), str(tmp_path))
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert set(weights) == {"image.0.weight", "image.0.bias", "text.0.weight", "log_scale", "log_class_scale"}
    model, x, y = load_projectors(tmp_path / "model"), torch.randn(3, 12), torch.randn(3, 10)
    image, text, _ = model(x, y)
    by_hand = torch.nn.functional.normalize(x @ weights["image.0.weight"].T + weights["image.0.bias"], dim=1)
    torch.testing.assert_close(image, by_hand)
    torch.testing.assert_close(text, torch.nn.functional.normalize(y @ weights["text.0.weight"].T, dim=1))


def test_noise_and_dropout_disturb_pictures_in_training_alone():
    model = Projectors({"image": (400, 400), "text": (4, 400)}, 10.0, normalise=False, noise=0.5, dropout=0.2)
    with torch.no_grad():
        model.image[0].weight.copy_(torch.eye(400))
        model.image[0].bias.zero_()
    clean, text = torch.ones(50, 400), torch.randn(50, 4)
    torch.manual_seed(0)
    seen, said, scale = model(clean, text)
    assert ((seen == 0).float().mean() - 0.2).abs() < 0.02 and scale.item() == pytest.approx(10)
    kept = seen[0][seen[0] != 0]
    assert abs((kept.std() / kept.mean()).item() - 0.5) < 0.1
    assert torch.equal(said, model.eval()(clean, text)[1])
    assert torch.equal(model(clean, text)[0], torch.full((50, 400), 1 / math.sqrt(400)))
