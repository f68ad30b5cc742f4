"""CLIP's contrastive loss: by hand, against open_clip, far out."""

import math

import pytest
import torch
from open_clip.loss import ClipLoss

from potstill.models.losses.info_nce import InfoNce, info_nce
from potstill.models.losses.loss import Batch, Labels, Output
from potstill.models.losses.numerics import unit
from tests.models.losses import batches


def softplus(x):
    return math.log1p(math.exp(x))


def test_two_pairs_by_hand():
    image, text = torch.tensor([[1.0, 0], [0, 3.0]]), torch.tensor([[2.0, 0], [0.6, 0.8]])
    batch = Batch(Output(image=image, text=text), Labels(2))
    # Cosines: the pictures' rows are (1, 0.6) and (0, 0.8), the texts' (1, 0) and (0.6, 0.8).
    expected = (softplus(0.6 - 1) + softplus(0 - 0.8) + softplus(0 - 1) + softplus(0.6 - 0.8)) / 4
    assert InfoNce(scale=1).terms(batch)[""].item() == pytest.approx(expected)
    expected = (softplus(-2) + softplus(-4) + softplus(-5) + softplus(-1)) / 4
    assert InfoNce(scale=5).terms(batch)[""].item() == pytest.approx(expected)


def test_it_is_open_clips():
    batch = batches.pairs(rows=9)
    student = batch.student
    InfoNce().terms(batch)[""].backward()
    ours = [x.grad.clone() for x in (student.image, student.text, student.scale)]
    for x in (student.image, student.text, student.scale):
        x.grad = None
    theirs = ClipLoss()(unit(student.image), unit(student.text), student.scale)
    theirs.backward()
    assert InfoNce().terms(batch)[""].item() == pytest.approx(theirs.item(), rel=1e-12)
    for mine, x in zip(ours, (student.image, student.text, student.scale), strict=True):
        torch.testing.assert_close(mine, x.grad)


def test_without_a_difference_it_is_the_logarithm_of_the_rows_and_a_constant_changes_nothing():
    assert info_nce(torch.zeros(5, 5), torch.arange(5)).tolist() == pytest.approx([math.log(5)] * 5)
    sims = torch.randn(4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    place = torch.tensor([3, 0, 8, 8])
    torch.testing.assert_close(info_nce(sims, place), info_nce(sims + 100, place))


def test_far_out_it_stays_finite():
    sims = torch.tensor([[1e4, -1e4], [1e4, -1e4]], requires_grad=True)
    values = info_nce(sims, torch.arange(2), torch.tensor([[False, True], [False, False]]))
    values.sum().backward()
    assert values.tolist() == [0.0, 2e4] and sims.grad.tolist() == [[0.0, 0.0], [1.0, -1.0]]


def wrong_batch(wrong):
    """The two pairs above; the first row has two wrong texts, the second one."""
    image, text = torch.tensor([[1.0, 0], [0, 3.0]]), torch.tensor([[2.0, 0], [0.6, 0.8]])
    return Batch(Output(image=image, text=text, features={"wrong": wrong}), Labels(2))


def test_wrong_texts_by_hand():
    """NegCLIP: all wrong texts stand against every picture, none against a text; zeros are no text."""
    wrong = torch.tensor([[[0.0, 5.0], [0.8, 0.6]], [[0.0, -1.0], [0.0, 0.0]]])
    # Cosines of the first picture to the wrong texts: 0, 0.8, 0; of the second: 1, 0.6, -1.
    first = math.log(math.exp(1) + math.exp(0.6) + math.exp(0) + math.exp(0.8) + math.exp(0)) - 1
    second = math.log(math.exp(0) + math.exp(0.8) + math.exp(1) + math.exp(0.6) + math.exp(-1)) - 0.8
    expected = (first + second + softplus(0 - 1) + softplus(0.6 - 0.8)) / 4
    assert InfoNce(scale=1, wrong="wrong").terms(wrong_batch(wrong))[""].item() == pytest.approx(expected)


def test_a_wrong_text_that_is_another_rows_own_text_does_not_count_there():
    """The first row's wrong text is the second row's own: as one candidate more for the first picture only."""
    wrong = torch.tensor([[[6.0, 8.0]], [[0.0, 0.0]]])
    first = math.log(math.exp(1) + 2 * math.exp(0.6)) - 1
    second = softplus(0 - 0.8)
    expected = (first + second + softplus(0 - 1) + softplus(0.6 - 0.8)) / 4
    assert InfoNce(scale=1, wrong="wrong").terms(wrong_batch(wrong))[""].item() == pytest.approx(expected)


def test_no_wrong_text_at_all_changes_nothing_and_takes_no_gradient():
    batch = wrong_batch(torch.zeros(2, 3, 2, requires_grad=True))
    value = InfoNce(scale=1, wrong="wrong").terms(batch)[""]
    assert value.item() == pytest.approx(InfoNce(scale=1).terms(batch)[""].item(), rel=1e-6)
    value.backward()
    assert not batch.student.features["wrong"].grad.any()


def test_the_gradient_of_wrong_texts_is_that_of_the_value():
    g = torch.Generator().manual_seed(0)
    image, text, wrong = (torch.randn(4, *shape, 3, generator=g, dtype=torch.float64) for shape in ((), (), (2,)))

    def of(image, text, wrong):
        output = Output(image=image, text=text, scale=5.0, features={"wrong": wrong})
        return InfoNce(wrong="wrong").terms(Batch(output, Labels(4)))[""]

    assert torch.autograd.gradcheck(of, tuple(x.requires_grad_() for x in (image, text, wrong)))


def test_a_fixed_scale_needs_none_of_the_student():
    assert InfoNce().needs() == {"student.image", "student.text", "student.scale"}
    assert InfoNce(scale=20).needs() == {"student.image", "student.text"}
    assert InfoNce(wrong="hard").needs() == InfoNce().needs() | {"student.features.hard"}
