"""The published ordering, at published weights, on the toy of benchmarks/distil_toy.py."""

from statistics import mean

import pytest
import torch

from benchmarks import distil_toy


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_dkd_is_better_than_kd_is_better_than_labels_alone(one_thread):
    data = distil_toy.task(distil_toy.HARD, epochs=10)
    arms = {name: distil_toy.A2[name] for name in ("CE", "KD 1/1", "DKD beta 2")}
    found = distil_toy.accuracies(distil_toy.HARD, data, arms, seeds=4)
    means = {name: mean(values) for name, values in found.items()}
    assert means["DKD beta 2"] > means["KD 1/1"] > means["CE"] + 5, means
    assert means["DKD beta 2"] < data.teacher_accuracy
