"""What settings of trainings come to: learning rates over steps, and by the names of parameters."""

import pytest
from torch import nn

from potstill.config import RequestError
from potstill.models.trainers.settings import LearningRate, Optimizer
from potstill.models.trainers.step import make_optimizer


def test_a_rate_rises_is_held_and_falls():
    rate = LearningRate(kind="linear", warmup=3, fall=0.4, floor=0.1)
    assert [rate.at(step, 20) for step in (1, 3, 4, 12, 14, 16, 20)] == pytest.approx(
        [0.25, 0.75, 1, 1, 0.775, 0.55, 0.1]
    )
    whole = LearningRate(kind="cosine", warmup=4)
    assert [whole.at(step, 12) for step in (4, 8, 12)] == pytest.approx([0.8, 0.5, 0])
    assert LearningRate(fall=0.5).at(90, 100) == 1


def test_parameters_learn_at_the_rate_of_their_name_and_gains_do_not_decay():
    model = nn.ModuleDict({"tower": nn.Linear(2, 2), "head": nn.LayerNorm(2), "words": nn.Embedding(3, 2)})
    optimizer = make_optimizer(Optimizer(lr=0.5, weight_decay=0.1, lr_factors={"words": 0.2, "tower.b": 4.0}), model)
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = next(name for name, p in model.named_parameters() if p is parameter)
            found[name] = (group["initial_lr"], group["weight_decay"])
    assert found == {
        "tower.weight": (0.5, 0.1), "tower.bias": (2.0, 0.0), "head.weight": (0.5, 0.0), "head.bias": (0.5, 0.0),
        "words.weight": (0.1, 0.1),
    }  # fmt: skip
    assert len(optimizer.param_groups) == 4


def test_a_name_that_no_parameter_has_is_refused():
    with pytest.raises(RequestError, match=r"no parameter that learns has 'wrods' in its name \(weight, bias, ...\)"):
        make_optimizer(Optimizer(lr_factors={"wrods": 0.5}), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="no parameter of the student learns"):
        make_optimizer(Optimizer(), nn.Linear(2, 2).requires_grad_(False))


def test_a_frozen_parameter_is_no_parameter_that_learns():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    assert sum(len(group["params"]) for group in make_optimizer(Optimizer(kind="sgd"), model).param_groups) == 1
