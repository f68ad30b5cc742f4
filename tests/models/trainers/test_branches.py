"""Conversations about one picture in one row give what they give in rows of their own."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from potstill.config import RequestError
from potstill.models.trainers.branches import POSITION, SEGMENT, packed, tree_mask
from potstill.models.trainers.chat_targets import Tokens
from potstill.models.trainers.launch import train, validate_recipe
from potstill.models.trainers.vlm_rows import IDS, TARGET
from tests.models.trainers.scenes_world import recipe, scene_rows, write_scenes
from tests.models.trainers.test_vlm import built, families, value  # noqa: F401


def talk(*turns):
    return [{"role": role, "content": text} | more for role, text, more in turns]


def asked(question, answer, **more):
    return talk(("user", question, {}), ("assistant", answer, more))


def branches_of(row):
    """Four conversations of a scene: the last is one that the model learns to begin itself, and counts less."""
    hooked = talk(("user", row["instruction"], {"weight": 0.3}), ("assistant", row["response"], {}))
    longer = asked("Describe it.", row["caption"]) + asked("Again.", "No.")
    return [asked(row["instruction"], row["response"]), asked("Rate it.", "Score: 5", weight=3.0), longer, hooked]


@pytest.fixture(scope="module")
def rows():
    return [row | {"several": json.dumps(branches_of(row))} for row in scene_rows(12, seed=7)]


@pytest.fixture(scope="module")
def run(rows, tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"), rows)


def tokens(ids, learnt=(), **kinds):
    weight = np.isin(np.arange(len(ids)), learnt).astype(np.float32)
    return Tokens(np.array(ids, np.int32), weight, {name: np.array(x, np.int32) for name, x in kinds.items()}, {})


def test_what_branches_share_stands_there_once_but_for_what_foretells_the_first_word():
    row = packed([tokens([1, 9, 9, 2, 5, 6], [5]), tokens([1, 9, 9, 2, 7], [4])], image_token=9)
    assert row.ids.tolist() == [1, 9, 9, 2, 5, 6, 2, 7]
    assert row.kinds[SEGMENT].tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert row.kinds[POSITION].tolist() == [0, 1, 2, 3, 4, 5, 3, 4]
    assert np.flatnonzero(row.weight).tolist() == [5, 7]


def test_words_that_two_branches_learn_are_learnt_twice():
    row = packed([tokens([1, 2, 5, 6], [2, 3]), tokens([1, 2, 5, 7], [2, 3])], image_token=None)
    assert row.ids.tolist() == [1, 2, 5, 6, 2, 5, 7]
    assert row.weight.tolist() == [0, 0, 1, 1, 0, 1, 1]


def test_one_branch_is_a_row_and_kinds_go_along():
    row = packed([tokens([1, 2, 3], [2], token_type_ids=[0, 1, 0])], image_token=None)
    assert row.ids.tolist() == [1, 2, 3]
    assert row.kinds[POSITION].tolist() == [0, 1, 2]
    assert row.kinds["token_type_ids"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "rows", [[tokens([1, 9, 3], [2]), tokens([2, 9, 3], [2])], [tokens([1, 9, 3], [2])]], ids=["before", "behind"]
)
def test_pictures_that_cannot_be_shared_are_refused(rows):
    with pytest.raises(ValueError, match="put them into rows of their own"):
        packed(rows, image_token=9)


def test_a_branch_sees_what_is_shared_and_itself_and_padding_sees_itself():
    seen = tree_mask(torch.tensor([[0, 1, 1, 2, -1]]))[0, 0] == 0
    assert seen.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]


@pytest.mark.parametrize("family", ["tiny", "llava"])
def test_loss_and_gradients_are_those_of_separate_rows(run, rows, families, family):  # noqa: F811
    folder = families.get(family, family)
    alone = [row | {"talk": json.dumps(one)} for row in rows[:4] for one in json.loads(row["several"])]
    found = []
    for given, how in ((rows[:4], {"branches": "several"}), (alone, {"messages": "talk"})):
        task, inputs = built(run, given, pretrained=folder, **how)
        task.student.eval()
        total = value(task, inputs)
        total.value.backward()
        found.append((total.value, {n: p.grad for n, p in task.student.named_parameters() if p.grad is not None}))
    (one, own), (two, others) = found
    assert_close(one, two, rtol=1e-6, atol=1e-6)
    assert own.keys() == others.keys()
    for name, gradient in own.items():
        assert_close(gradient, others[name], rtol=1e-4, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_turns_count_as_much_as_the_data_says(run, rows):
    task, inputs = built(run, rows[:1], branches="several")
    labels, ids = task.labels(inputs), inputs[IDS][0, 1:]
    decode = task.reader.processor.tokenizer.decode
    by_weight = {w: decode(ids[(labels.weight[0] == w) & (labels.target[0] != -100)]) for w in (0.3, 3.0)}
    by_weight = {round(w, 1): text for w, text in by_weight.items()}
    assert by_weight[3.0] == "Score: 5<|im_end|>"
    weights = labels.weight[0][labels.target[0] != -100]
    assert set(np.round(weights.tolist(), 3)) == {0.3, 1.0, 3.0}
    hooked = (labels.weight[0] - 0.3).abs() < 1e-6
    assert decode(ids[hooked]) == rows[0]["instruction"] + "<|im_end|>"


def test_the_picture_is_there_once_and_the_row_is_shorter(run, rows):
    task, inputs = built(run, rows[:1], branches="several")
    single = [rows[0] | {"talk": json.dumps(one)} for one in json.loads(rows[0]["several"])]
    _, others = built(run, single, messages="talk")
    image = task.reader.image_token
    assert (inputs[IDS] == image).sum() == (others[IDS][0] == image).sum()
    assert (inputs[TARGET] != -100).sum() == (others[TARGET] != -100).sum()
    assert inputs[IDS].shape[1] < (others["attention_mask"]).sum()


def test_rows_without_a_picture_have_branches_too(run, rows):
    bare = rows[0] | {"image": None}
    task, inputs = built(run, [rows[1], bare], branches="several")
    assert torch.isfinite(value(task, inputs).value)
    assert not (inputs[IDS][1] == task.reader.image_token).any()


def test_a_training_on_branches_learns_and_is_measured_by_its_loss(run, tmp_path):
    tree = recipe(run, branches="several", validation={"path": str(run)}, steps=12, optimizer={"lr": 3e-3}, layers=2)
    before = {**tree, "steps": 1, "optimizer": {"lr": 1e-9}}
    first = train(validate_recipe(before, "before"), str(tmp_path / "before"))["metrics"]
    last = train(validate_recipe(tree, "after"), str(tmp_path / "after"))["metrics"]
    assert set(last) == {"loss"}
    assert last["loss"] < 0.8 * first["loss"]


def test_a_model_that_places_tokens_by_itself_is_refused(run, rows, families):  # noqa: F811
    task, _ = built(run, rows[:1], pretrained=families["qwen2_vl"], branches="several")
    with pytest.raises(RequestError, match=r"does not read branches of one row .*; use messages instead"):
        task.to("cpu")


def test_weights_that_are_no_numbers_and_columns_that_exclude_each_other_are_refused(run, rows):
    wrong = rows[0] | {"several": json.dumps([asked("What?", "That.", weight="much")])}
    with pytest.raises(RequestError, match="the weight of a turn is 'much'; give a number that is at least 0"):
        built(run, [wrong], branches="several")
    with pytest.raises(RequestError, match="give one of messages, branches"):
        built(run, [], branches="several", messages="talk")
