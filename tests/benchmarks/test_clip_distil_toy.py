"""The clearest ordering of the toy CLIP, with one seed."""

import pytest
import torch

from benchmarks.clip_distil_toy import World, results


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_clean_teacher_beats_contrast_on_noisy_pairs():
    found = results(0, ["info_nce", "clip_affinity"])
    assert found["teacher, info_nce"] > found["clip_affinity"] > found["info_nce"] + 5 > 20


def test_wrong_pairs_are_as_many_as_asked_for():
    (_, clean), (_, noisy) = World(3).pairs(1000), World(3).pairs(1000, wrong=0.3)
    assert (clean != noisy).any(1).sum() == 300
    assert torch.equal(clean.sort(0).values, noisy.sort(0).values)
