"""FitNet: the error, the regressor's shapes, what is refused."""

import pytest
import torch

from potstill.models.losses.fitnet import Fitnet, fitnet
from potstill.models.losses.modules.fitnet import regressor
from tests.models.losses import batches


def test_by_hand():
    student, teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert fitnet(student, teacher).tolist() == [2.5, 2.0]


@pytest.mark.parametrize("norm_relu", [False, True])
@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ((2, 3, 8, 8), (2, 5, 4, 4)),
        ((2, 3, 4, 6), (2, 5, 8, 12)),
        ((2, 3, 7, 5), (2, 5, 4, 5)),
        ((2, 3, 4, 4), (2, 5, 4, 4)),
    ],
    ids=str,
)
def test_a_convolution_ends_at_the_teachers_size(student, teacher, norm_relu):
    found = regressor(torch.Size(student), torch.Size(teacher), norm_relu=norm_relu)(torch.randn(student))
    assert found.shape == teacher
    assert bool((found >= 0).all()) == norm_relu


@pytest.mark.parametrize(("student", "teacher"), [((2, 3), (2, 5)), ((2, 4, 3), (2, 4, 5))], ids=str)
def test_embeddings_and_tokens_have_a_linear_map(student, teacher):
    layer = regressor(torch.Size(student), torch.Size(teacher))
    assert layer(torch.randn(student)).shape == teacher
    assert layer.weight.shape == (5, 3)


@pytest.mark.parametrize(
    ("student", "teacher", "says"),
    [
        ((2, 3, 4, 4), (2, 5, 7, 7), "half as large, or at least as large"),
        ((2, 4, 3), (2, 6, 5), "as many tokens"),
        ((2, 3), (2, 3, 4, 4), r"from \(2, 3\) to \(2, 3, 4, 4\)"),
        ((2, 3, 4, 4, 4), (2, 3, 4, 4, 4), "maps"),
    ],
)
def test_other_shapes_are_refused(student, teacher, says):
    with pytest.raises(ValueError, match=says):
        regressor(torch.Size(student), torch.Size(teacher))


def test_a_regressor_that_fits_leaves_no_error_and_is_trained():
    batch = batches.activations()
    built = Fitnet(student="pooled", teacher="pooled").build(batch).double()
    student, teacher = batch.student.features["pooled"].detach(), batch.teacher.features["pooled"].detach()
    inputs = torch.cat([student, torch.ones(len(student), 1)], 1)
    best = torch.linalg.lstsq(inputs, teacher).solution
    loss = built(batch)[""]
    loss.backward()
    assert all(weight.grad.any() for weight in built.parameters())
    with torch.no_grad():
        built.regressor.weight.copy_(best[:-1].T)
        built.regressor.bias.copy_(best[-1])
    assert built(batch)[""].item() == pytest.approx((inputs @ best - teacher).square().mean(1).sum().item())
    assert built(batch)[""] < loss


def test_rows_that_do_not_count_have_no_part_beside_their_statistics():
    batch = batches.activations()
    batch.labels.masks["none"] = torch.zeros(batches.ROWS, dtype=torch.bool)
    loss = Fitnet(student="shallow", teacher="shallow", norm_relu=True, mask="none")
    built = loss.build(batch).double()
    built(batch)[""].backward()
    assert built(batch)[""] == 0 and not any(weight.grad.any() for weight in built.parameters())
    assert all(buffer.isfinite().all() for buffer in built.buffers())
