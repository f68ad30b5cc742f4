"""ReviewKD: the pooled error by hand, the fusions, what is refused."""

import pytest
import torch
from pydantic import ValidationError

from potstill.models.losses.review_kd import ReviewKd, hcl
from tests.models.losses import batches


def test_pooled_errors_by_hand():
    # 2 x 2: mean square 1/4 at full size, and the square of the mean, 1/16, with weight 1/2.
    student = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert hcl(student, torch.zeros(1, 1, 2, 2)).item() == pytest.approx((1 / 4 + 1 / 32) / 1.5)
    # A constant difference of 3 is 9 at every size.
    for side in (1, 2, 4, 8):
        assert hcl(torch.full((2, 3, side, side), 3.0), torch.zeros(2, 3, side, side)).tolist() == pytest.approx([9, 9])


def built(student=("shallow", "deep", "pooled"), **how):
    batch = batches.activations()
    loss = ReviewKd(student=student, teacher=student, **how)
    torch.manual_seed(0)
    return loss.build(batch).double(), batch


def test_deep_layers_reach_the_shallow_ones_and_all_is_trained():
    module, batch = built(("shallow", "deep"))
    module(batch)[""].backward()
    assert all(weight.grad.any() for weight in module.parameters())
    assert module.fusions[0].enter[0].weight.shape == (3, 2, 1, 1), "at most the channels of the deepest"
    shallow = module.fusions[0]
    x, size = batch.student.features["shallow"], torch.Size((4, 4))
    one, other = (shallow(x, torch.full((6, 3, 2, 2), value, dtype=x.dtype), size)[0] for value in (0.0, 1.0))
    assert not torch.allclose(one, other)


def test_the_sum_of_levels_by_a_second_way():
    module, batch = built(width=2)
    module.eval()
    deep, middle, top = (batch.student.features[name] for name in ("pooled", "deep", "shallow"))
    total, below = 0, None
    for fusion, x, name in zip(
        reversed(module.fusions), (deep[:, :, None, None], middle, top), ("pooled", "deep", "shallow"), strict=True
    ):
        inside = fusion.enter(x)
        if below is not None:
            times = inside.shape[-1] // below.shape[-1]
            below = below.repeat_interleave(times, 2).repeat_interleave(times, 3)
            first, second = torch.sigmoid(fusion.share[0](torch.cat([inside, below], 1))).unbind(1)
            inside = first[:, None] * inside + second[:, None] * below
        below = inside
        target = batch.teacher.features[name]
        total = total + hcl(fusion.leave(inside), target if target.ndim == 4 else target[:, :, None, None]).sum()
    assert module(batch)[""].item() == pytest.approx(total.item())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValidationError, match="2 features of the student, 1 of the teacher"):
        ReviewKd(student=("a", "b"), teacher=("a",))
    with pytest.raises(ValueError, match=r"takes maps .* tokens is"):
        built(("shallow", "tokens"))


def test_rows_that_do_not_count_have_no_part_beside_their_statistics():
    module, batch = built(mask="none")
    batch.labels.masks["none"] = torch.zeros(batches.ROWS, dtype=torch.bool)
    module(batch)[""].backward()
    assert module(batch)[""] == 0 and not any(weight.grad.any() for weight in module.parameters())
    assert all(buffer.isfinite().all() for buffer in module.buffers())
