"""A CLIP from recipe to folder: it learns, follows teachers, inherits, and what comes out is what was measured."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image

from potstill.config import RequestError
from potstill.models.clip import load_clip
from potstill.models.losses.loss import Batch
from potstill.models.metrics.retrieval import places
from potstill.models.trainers.clip_rows import EPOCH
from potstill.models.trainers.clip_task import ClipTask
from potstill.models.trainers.launch import train, validate_recipe
from tests.models.trainers.clip_world import GROUPS, STUDENT, recipe, scenes, write_scenes

LARGER = STUDENT | {
    "vision_cfg": STUDENT["vision_cfg"] | {"layers": 3, "width": 64},
    "text_cfg": STUDENT["text_cfg"] | {"layers": 2, "width": 64, "heads": 4},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory):
    """A larger CLIP, which serves as a teacher."""
    told = recipe(run, network={"architecture": "ViT-B-32", "config": LARGER}, seed=3, steps=2)
    return train(validate_recipe(told, "recipe"), str(tmp_path_factory.mktemp("larger")))["model"]


def made(run, **changes):
    return validate_recipe(recipe(run, **changes), "recipe")


def losses(folder):
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss/total"] for entry in entries if "loss/total" in entry]


def batch(told, table=None):
    """The student's and the teachers' words on the first rows, as the loop asks for them."""
    torch.manual_seed(2)
    task = told.build()
    rows = (scenes() if table is None else table).slice(0, 8).append_column(EPOCH, pa.array([1] * 8, pa.int64()))
    inputs = task.collate(told.prepare(rows, training=True))
    needs = frozenset().union(*(loss.needs() for loss in told.losses))
    return Batch(task.see(task.student.eval(), inputs, needs), task.labels(inputs), task.teach(inputs, needs))


def test_it_learns_its_pairs_and_the_folder_gives_what_was_measured(run, tmp_path):
    told = made(run, steps=40, validation={"path": str(run), "where": {"split": ["train"]}})
    done = train(told, str(tmp_path / "out"))
    assert done["metrics"]["recall_1"] > 0.2, "the chance is 0.025"
    assert losses(tmp_path / "out")[-1] < 0.7 * losses(tmp_path / "out")[0]
    table = scenes()
    known = table.filter(pa.compute.equal(table["split"], "train"))
    clip = load_clip(f"local-dir:{done['model']}")
    pictures = [Image.open(pa.BufferReader(data)).convert("RGB") for data in known["image"].to_pylist()]
    ours, texts = clip.encode_images(pictures), clip.encode_texts(known["caption"].to_pylist())
    pairs = np.stack([np.arange(40)] * 2, 1)
    assert places(ours, texts, pairs).hits(1).mean() == done["metrics"]["text_recall_1"]
    assert places(texts, ours, pairs).hits(5).mean() == done["metrics"]["image_recall_5"]


def test_embeddings_before_and_after_the_way_out_are_equal(run, tmp_path):
    told = made(run)
    torch.manual_seed(1)
    task = told.build()
    rows = scenes().slice(0, 8).append_column(EPOCH, pa.array([1] * 8, pa.int64()))
    inputs = task.collate(told.prepare(rows, training=False))
    task.student.eval().requires_grad_(False)
    answers = task.evaluate(task.student, inputs)
    task.export(tmp_path, task.student.state_dict())
    clip = load_clip(f"local-dir:{tmp_path}")
    pictures = [Image.open(pa.BufferReader(data)).convert("RGB") for data in rows["image"].to_pylist()]
    assert np.allclose(clip.encode_images(pictures), answers["image"], atol=1e-6)
    assert np.allclose(clip.encode_texts(rows["caption"].to_pylist()), answers["text"], atol=1e-6)
    plain = open_clip.create_model(f"local-dir:{tmp_path}")
    assert plain.logit_scale.shape == () and plain.logit_scale.item() == task.student.clip.logit_scale.item()


def test_a_training_begins_where_another_ended(run, trained):
    network = {"architecture": trained, "pretrained": trained}
    said = batch(made(run, network=network, teacher=trained, losses=[{"kind": "clip_affinity"}]))
    assert torch.allclose(said.student.image, said.teacher.image) and torch.allclose(
        said.student.text, said.teacher.text
    )
    assert said.student.scale.item() == pytest.approx(said.teacher.scale.item())
    stage = batch(made(run, network={"architecture": trained, "config": STUDENT, "pretrained": {"inherit": trained}}))
    whole = open_clip.create_model(f"local-dir:{trained}").state_dict()
    assert stage.student.scale.item() == pytest.approx(whole["logit_scale"].exp().item())
    with pytest.raises(
        RequestError, match=r"does not fit the student: \d+ tensors differ, the first is positional_embedding"
    ):
        made(run, network={"architecture": "ViT-B-32", "config": STUDENT, "pretrained": trained}).build()


def test_inherited_weights_are_the_larger_model_s(run, trained):
    told = made(run, network={"architecture": "ViT-B-32", "config": STUDENT, "pretrained": {"inherit": trained}})
    ours, theirs = ClipTask(told).student.clip.state_dict(), open_clip.create_model(f"local-dir:{trained}").state_dict()
    assert torch.equal(ours["visual.conv1.weight"], theirs["visual.conv1.weight"][:32])
    assert torch.equal(ours["token_embedding.weight"], theirs["token_embedding.weight"][:, :32])


@pytest.mark.parametrize(
    "used",
    [
        [{"kind": "clip_affinity"}],
        [{"kind": "info_nce"}, {"kind": "clip_kd"}],
        [{"kind": "info_nce", "scale": 20}, {"kind": "rkd", "student": "image", "teacher": "image"}],
    ],
    ids=lambda used: used[-1]["kind"],
)
def test_a_teacher_in_memory_teaches(run, trained, tmp_path, used):
    done = train(made(run, teacher=trained, losses=used), str(tmp_path / "out"))
    said = losses(tmp_path / "out")
    assert len(said) == 6 and all(np.isfinite(said)) and said[-1] < said[0]
    assert Path(done["model"], "open_clip_model.safetensors").is_file()


def test_columns_teach_as_the_model_that_wrote_them(run, trained, tmp_path):
    table = scenes()
    clip = load_clip(f"local-dir:{trained}")
    pictures = [Image.open(pa.BufferReader(data)).convert("RGB") for data in table["image"].to_pylist()]
    table = table.append_column("seen", pa.array(list(clip.encode_images(pictures))))
    table = table.append_column("said", pa.array(list(clip.encode_texts(table["caption"].to_pylist()))))
    scale = open_clip.create_model(f"local-dir:{trained}").logit_scale.exp().item()
    used = {"losses": [{"kind": "clip_affinity"}], "steps": 4}
    stored = {"teacher_columns": {"image": "seen", "text": "said", "scale": scale}}
    folder = write_scenes(tmp_path / "scenes", table)
    train(made(folder, **stored, **used), str(tmp_path / "columns"))
    train(made(folder, teacher=trained, **used), str(tmp_path / "memory"))
    assert losses(tmp_path / "columns") == pytest.approx(losses(tmp_path / "memory"), rel=1e-3)


def test_the_embedded_clip_teaches_with_pixels_and_tokens_of_its_own(run):
    said = batch(made(run, teacher="tiny", losses=[{"kind": "clip_affinity"}]))
    table, clip = scenes(), load_clip("tiny")
    pictures = [Image.open(pa.BufferReader(data)).convert("RGB") for data in table["image"].to_pylist()[:8]]
    assert np.allclose(said.teacher.image.numpy(), clip.encode_images(pictures), atol=1e-5)
    assert np.allclose(said.teacher.text.numpy(), clip.encode_texts(table["caption"].to_pylist()[:8]), atol=1e-5)
    assert said.student.image.shape == (8, 32) and said.teacher.image.shape == (8, 256)


def test_further_texts_and_inner_activations_are_features(run, trained):
    inner = "visual.transformer.resblocks.0"
    used = [
        {"kind": "info_nce", "second": "other"},
        {"kind": "similarity_preserving", "student": inner, "teacher": inner},
    ]
    said = batch(made(run, teacher=trained, more_text={"other": "captions"}, losses=used))
    assert set(said.student.features) == {"other", inner} and said.student.features[inner].shape == (8, 10, 32)
    assert said.teacher.features[inner].shape == (8, 10, 64) and said.teacher.features["other"].shape == (8, 32)
    alone = batch(made(run, teacher=trained))
    assert torch.allclose(said.student.text, alone.student.text, atol=1e-6)
    with pytest.raises(ValueError, match="no module 'nothing'"):
        batch(made(run, losses=[{"kind": "similarity_preserving", "student": "nothing", "teacher": "image"}]))


def test_a_text_of_transformers_is_cut_to_its_longest(run):
    told = made(run, network={"architecture": "tiny", "pretrained": "tiny"})
    task = told.build()
    rows = scenes().slice(0, 8).append_column(EPOCH, pa.array([1] * 8, pa.int64()))
    prepared = told.prepare(rows, training=False)
    inputs = task.collate(prepared)
    assert len(prepared["tokens/text"][0]) == 128 and inputs["tokens/text"].shape[1] < 40
    task.student.eval().requires_grad_(False)
    whole = inputs | {"tokens/text": torch.tensor(np.stack(prepared["tokens/text"].to_pylist()))}
    assert np.allclose(
        task.evaluate(task.student, inputs)["text"], task.evaluate(task.student, whole)["text"], atol=1e-5
    )


def test_retrieval_takes_every_text_of_a_group_as_right_and_equal_texts_as_one(run):
    task = made(run).build()
    image = np.eye(4, dtype=np.float32)
    text = image[[1, 0, 2, 2]]  # the first two are exchanged, the last two say the same
    alone = task.score({"image": image, "text": text, "group": np.arange(4), "text_id": np.array([5, 6, 7, 7])})
    assert alone["text_recall_1"] == pytest.approx(
        (0 + 0 + 1 + 1 / 3) / 4
    )  # the fourth finds nothing nearer than 3 texts
    assert alone["image_recall_1"] == pytest.approx(1 / 3)
    grouped = task.score(
        {"image": image, "text": text, "group": np.array([1, 1, 2, 2]), "text_id": np.array([5, 6, 7, 7])}
    )
    assert grouped["image_recall_1"] == 1 and grouped["recall_5"] == 1


def test_zero_shot_accuracy_is_that_of_the_nearest_class_text(run, tmp_path):
    told = made(run, classes=GROUPS, templates=["a {}", "some {}s"], steps=2)
    done = train(told, str(tmp_path / "out"))
    clip, table = load_clip(f"local-dir:{done['model']}"), scenes()
    held = table.filter(pa.compute.equal(table["split"], "val"))
    pictures = [Image.open(pa.BufferReader(data)).convert("RGB") for data in held["image"].to_pylist()]
    means = np.stack([clip.encode_texts([f"a {name}", f"some {name}s"]).mean(0) for name in GROUPS])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    found = [GROUPS[k] for k in (clip.encode_images(pictures) @ means.T).argmax(1)]
    assert done["metrics"]["zero_shot"] == np.mean(
        [a == b for a, b in zip(found, held["label"].to_pylist(), strict=True)]
    )


def test_the_factor_stays_within_bounds(run):
    towers = made(run).build().student
    with torch.no_grad():
        towers.clip.logit_scale.fill_(9.0)
    pixels, tokens = torch.zeros(1, 3, 48, 48, dtype=torch.uint8), torch.ones(1, 32, dtype=torch.long)
    assert towers.output(pixels, {"text": tokens}, []).scale.item() == pytest.approx(100)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"more_text": {"image": "caption"}}, "may not be called 'image'"),
        ({"teacher_columns": {"image": "a", "text": ["b", "c"]}}, "gives 2 columns for the 1 of 'text'"),
        ({"more_text": {"x": "y"}, "teacher_columns": {"image": "a", "text": "b"}}, "gives 0 columns for the 1 of 'x'"),
        (
            {"network": {"architecture": "ViT-B-32", "pretrained": {"inherits": "x"}}},
            "unknown key; did you mean 'inherit'",
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(run, changes, said):
    with pytest.raises(RequestError, match=said):
        made(run, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher": "no/such"}, "no/such holds no open_clip_config.json"),
        ({"network": {"architecture": "ViT-B-32", "pretrained": {"inherit": "local-dir:x"}}}, "x holds no open_clip"),
        ({"templates": ["a dog"]}, "has no {}"),
    ],
)
def test_a_folder_that_is_not_there_is_said_before_anything_loads(run, tmp_path, changes, said):
    with pytest.raises(RequestError, match=said):
        train(made(run, **changes), str(tmp_path / "out"))
