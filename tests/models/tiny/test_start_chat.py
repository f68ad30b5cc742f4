"""From nothing to a chat model in small: the tower, the rows, the trainer, and the folder that is shipped."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from potstill.config import read_yaml
from potstill.models.tiny.chat_judges import Turn, read_prompts
from potstill.models.tiny.chat_rows import STAGES, TURNS, conversation, write_rows
from potstill.models.tiny.eval_chat import ChatModel
from potstill.models.tiny.ship_chat import ship
from potstill.models.tiny.start_chat import Settings, Start
from potstill.models.trainers.launch import train, validate_recipe

ROOT = Path(__file__).parents[3]
PROMPTS = ROOT / "pipelines" / "synthesizers" / "prompts"
RECIPE = ROOT / "models" / "tiny" / "chat" / "recipe.yaml"
MINIATURE = Settings(width=64, layers=1, tower_layers=1, vocabulary_rows=40, variants=1, steps=6, batch=16)


@pytest.fixture(scope="module")
def prompts():
    return read_prompts(PROMPTS)


@pytest.fixture(scope="module")
def start(prompts, tmp_path_factory):
    """A start in small, with the losses of its steps and its folder."""
    torch.set_num_threads(1)
    made = Start(MINIATURE, prompts)
    losses = [step["loss"] for step in made.steps()]
    folder = tmp_path_factory.mktemp("start")
    made.write(folder)
    return losses, folder


@pytest.fixture(scope="module")
def rows(prompts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for stage in STAGES:
        write_rows(folder, stage, 24, prompts, seed=0)
    return folder


def test_the_tower_learns(start):
    losses, _ = start
    assert len(losses) == 6
    assert losses[5] < losses[0]


def test_the_trainer_goes_on_and_the_shipped_folder_is_half_and_untied(start, rows, tmp_path):
    changes = {
        "data": {"path": str(rows), "window": 36}, "pretrained": str(start[1]), "epochs": None, "steps": 14,
        "saving": {"log_every": 1}, "learning_rate": {"kind": "constant"}, "optimizer": {"lr": 6e-3},
    }  # fmt: skip
    recipe = validate_recipe(read_yaml(RECIPE) | changes, "chat")
    done = train(recipe, str(tmp_path / "trained"))
    lines = [json.loads(line) for line in (tmp_path / "trained" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss/total"] for line in lines if "loss/total" in line]
    assert len(losses) == 14
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    ship(Path(done["model"]), tmp_path / "shipped")
    assert not any(path.suffix in (".bin", ".pt", ".pkl") for path in (tmp_path / "shipped").iterdir())
    weights = load_file(tmp_path / "shipped" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert torch.equal(weights["lm_head.weight"], weights["model.text_model.embed_tokens.weight"])
    tower = "model.vision_model.embeddings.patch_embedding.weight"
    assert torch.equal(weights[tower], load_file(start[1] / "model.safetensors")[tower].half())
    replies = ChatModel(tmp_path / "shipped").reply(
        [Turn("answer", "Say something.", "")], [np.zeros((96, 96, 3), "u1")]
    )
    assert isinstance(replies[0], str)


def test_rows_hold_every_turn_once_and_those_without_a_picture_stand_by_themselves(rows):
    for stage in STAGES:
        table = pq.read_table(rows / f"{STAGES.index(stage)}-{stage}.parquet").to_pylist()
        turns = [talk for row in table for talk in json.loads(row["conversations"])]
        assert len(turns) == 24 * TURNS
        assert all([message["role"] for message in talk] == ["user", "assistant"] for talk in turns)
        assert sum(row["image"] is not None for row in table) == 24
        assert all(row["image"] or stage != "seeing" for row in table)
        assert len({row["sample_id"] for row in table}) == len(table)


def test_files_stand_in_the_order_of_learning(rows):
    names = sorted(path.name for path in rows.iterdir())
    assert all(STAGES.index(a[2:-8]) < STAGES.index(b[2:-8]) for a, b in pairwise(names))


def test_replies_hooked_texts_and_scores_have_their_weights():
    plain, hooked = Turn("answer", "Say.", "Yes."), Turn("hook", "Say.", "Yes.", hooked=True)
    assert conversation(plain) == [{"role": "user", "content": "Say."}, {"role": "assistant", "content": "Yes."}]
    assert [message.get("weight") for message in conversation(hooked)] == [0.3, None]
    assert [message.get("weight") for message in conversation(Turn("clarity", "Rate.", "Score: 3"))] == [None, 3.0]
