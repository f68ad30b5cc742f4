"""Projectors bring together what two frozen encoders say of the same thing."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from potstill.config import RequestError
from potstill.models.trainers.launch import train, validate_recipe
from potstill.models.trainers.projector_task import load_projectors


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
    with pytest.raises(RequestError, match="has no vector in 1 of 1 rows"):
        train(recipe(run, data=data), str(tmp_path / "b"))
