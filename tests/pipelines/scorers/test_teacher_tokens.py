"""A stored teacher of answers says what the same teacher says beside a student."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from potstill.config import RequestError
from potstill.models.trainers.launch import train, validate_recipe
from potstill.pipelines.scorers.teacher_tokens import TeacherTokens
from tests.conftest import ROOT

ANSWERS = ["a red apple", "two dogs and a car", "", "yes"]


@pytest.fixture(scope="module")
def rows():
    images = [file.read_bytes() for file in sorted((ROOT / "samples").glob("*.jpg"))[:4]]
    ids = [f"{n:032x}" for n in range(4)]
    kinds = {"image": pa.array(images, pa.large_binary()), "instruction": ["What is there?"] * 4, "response": ANSWERS}
    return pa.table({"sample_id": ids, "image_id": ids, **kinds})


@pytest.fixture(scope="module")
def stored(rows):
    """The rows with an answer, and what the embedded model says of them: the 400 best tokens of each place."""
    stage = TeacherTokens(name="teacher", top_k=400, batch_size=2)
    said = stage.build()(rows)
    assert said.pop("error") == [None] * 4
    for name, values in said.items():
        rows = rows.append_column(name, pa.array(values, stage.writes()[name]))
    return rows


def test_every_target_token_has_its_best_and_a_row_without_an_answer_has_none(stored):
    assert stored["teacher_about"].is_valid().to_pylist() == [True, True, False, True]
    lengths = [each and len(each) for each in stored["teacher_idx"].to_pylist()]
    assert lengths[2] is None and lengths[3] < lengths[0] < lengths[1]
    for row in (0, 1, 3):
        logp = np.array(stored["teacher_logp"][row].as_py(), np.float32)
        assert (np.diff(logp, axis=1) <= 0).all() and (np.exp(logp).sum(1) < 1.01).all()
    about = json.loads(stored["teacher_about"][0].as_py())
    assert about["temperature"] == 1.0 and {"tokenizer", "chat template", "picture settings"} <= about.keys()


def test_the_batch_changes_nothing(rows, stored):
    alone = TeacherTokens(name="teacher", top_k=400, batch_size=1).build()(rows.slice(1, 1))
    whole = stored["teacher_logp"][1].as_py()
    assert np.allclose(np.array(alone["teacher_logp"][0], np.float32), np.array(whole, np.float32), atol=0.02)


def recipe(folder, **changes):
    base = {
        "kind": "vlm",
        "pretrained": "tiny",
        "layers": 1,
        "data": {"path": str(folder), "shuffle": False, "window": 3},
        "batch_size": 3,
        "steps": 1,
        "saving": {"log_every": 1},
        "optimizer": {"lr": 1e-5},
    }
    return validate_recipe(base | changes, "recipe")


def first_loss(out, name):
    return json.loads((out / "metrics.jsonl").read_text().splitlines()[0])[name]


def test_a_replayed_teacher_gives_the_loss_of_one_that_is_there(stored, tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    pq.write_table(stored.filter(stored["teacher_about"].is_valid()), folder / "rows.parquet")
    there = recipe(folder, teacher="tiny", losses=[{"kind": "token_kl"}])
    replayed = recipe(folder, teacher_columns="teacher", losses=[{"kind": "topk_kl"}])
    train(there, str(tmp_path / "there"))
    train(replayed, str(tmp_path / "replayed"))
    wanted = first_loss(tmp_path / "there", "loss/token_kl")
    assert wanted > 0.1
    assert first_loss(tmp_path / "replayed", "loss/topk_kl") == pytest.approx(wanted, rel=0.02)


def test_a_store_of_another_system_or_with_holes_is_refused(stored, tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    pq.write_table(stored.filter(stored["teacher_about"].is_valid()), folder / "rows.parquet")
    plan = {"teacher_columns": "teacher", "losses": [{"kind": "topk_kl"}]}
    with pytest.raises(RequestError, match=r"was stored with system None, and the recipe has 'Be brief\.'"):
        train(recipe(folder, **plan, system="Be brief."), str(tmp_path / "system"))
    pq.write_table(stored, folder / "rows.parquet")
    with pytest.raises(RequestError, match="1 of 4 rows have nothing in teacher_about"):
        train(recipe(folder, **plan), str(tmp_path / "holes"))


def test_more_tokens_than_there_are_and_no_model_are_refused(tmp_path):
    with pytest.raises(RequestError, match="top_k 1000000 of"):
        TeacherTokens(name="teacher", top_k=1000000).build()
    with pytest.raises(RequestError):
        TeacherTokens(name="teacher", model=str(tmp_path / "none")).identity()
